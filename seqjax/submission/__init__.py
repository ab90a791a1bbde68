"""The files of a job, one module for each scheduler."""

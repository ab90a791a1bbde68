"""The files of a job for the scheduler that is to run it, one module for each scheduler."""

"""What a validation reports: scores of outputs and of probabilities."""

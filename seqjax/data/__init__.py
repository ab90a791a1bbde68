"""Text in, planned batches out."""

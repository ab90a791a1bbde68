"""Tasks: batches, losses, scores and searches."""

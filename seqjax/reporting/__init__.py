"""What a run reports to its user."""

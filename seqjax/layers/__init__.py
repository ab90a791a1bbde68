"""Building blocks that know nothing of tasks."""

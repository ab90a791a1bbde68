"""Building blocks that do not depend on tasks."""

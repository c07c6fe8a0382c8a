"""A run before it starts: its data, its settings, and all that can be known to be wrong."""

"""The end of a run: the sealed test, what is published, and what is said of it."""

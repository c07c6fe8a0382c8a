"""Standard library only: the errors, the clock, whole-file writes, canonical hashes."""

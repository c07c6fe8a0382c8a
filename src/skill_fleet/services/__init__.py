"""Use cases: one function for each thing a user can ask for. No printing, no terminal, no web."""

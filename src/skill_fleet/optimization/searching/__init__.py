"""The search of a run: its stages, its rounds, and what is set aside in them."""

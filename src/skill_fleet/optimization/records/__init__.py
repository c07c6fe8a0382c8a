"""What a run is asked for, what happens in it, and what it leaves behind."""

"""Which optimizer to take, from rules and from the runs of the past."""

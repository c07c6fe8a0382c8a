"""skill-fleet: write, measure and optimize agent skills with DSPy."""

__version__ = "0.1.0"

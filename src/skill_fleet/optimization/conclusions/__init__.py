"""What may be concluded from the sealed test, and what it will be able to show."""

"""Every answer that was paid for, once, and a line for every attempt: in files, or in a database."""

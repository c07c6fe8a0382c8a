"""Programs as models: the prompt on stdin, the answer on stdout."""

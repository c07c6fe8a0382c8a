"""What the operator decides: settings, where each came from, and where things live."""

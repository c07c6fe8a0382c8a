"""The path of a call: looked up, shared, let through, reserved, written down, made, settled."""

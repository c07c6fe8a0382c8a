"""The REST API: translates requests to use cases and their errors to problem documents."""

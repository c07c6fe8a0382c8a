"""A provider with limits and faults, around the offline model: for tests and demonstrations."""

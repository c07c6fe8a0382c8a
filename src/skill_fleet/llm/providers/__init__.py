"""The ways to models over HTTP: routes, one attempt, and what providers mean by their errors."""

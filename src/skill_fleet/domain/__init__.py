"""Skills, taxonomy, training sets: no model, no network."""

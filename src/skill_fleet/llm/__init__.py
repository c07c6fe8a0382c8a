"""Everything that talks to a model: the call path, its journal, budgets, prices, the offline model."""

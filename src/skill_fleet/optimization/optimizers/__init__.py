"""Thin translations to DSPy's optimizers, one a file; none knows another."""

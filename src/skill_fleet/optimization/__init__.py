"""Making a program better: DSPy's optimizers behind one door, with journal, budget and honest verdicts."""

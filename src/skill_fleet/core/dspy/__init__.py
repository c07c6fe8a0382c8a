"""The DSPy building blocks: signatures, sampling, examples. `import dspy` here always means the library."""

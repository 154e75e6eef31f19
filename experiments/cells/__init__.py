"""What is measured: one combination of an algorithm, a model and how it is trained."""

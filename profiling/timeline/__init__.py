"""The recorded memory of a step, and the questions one asks of it."""

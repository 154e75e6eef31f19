"""The models, each `build(input_shape=..., classes=..., layers=None, seed=None)`."""

"""Errors that name what cannot be trained, what is allowed and what to do next."""


class UnsupportedError(ValueError):
    """A model, layer, loss or optimizer that an algorithm cannot honour."""

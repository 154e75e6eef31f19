"""Bytes planned from shapes, parts of a batch, inputs rebuilt by inverses."""

"""Timelines as pictures, pages, tables and traces; each takes a timeline."""

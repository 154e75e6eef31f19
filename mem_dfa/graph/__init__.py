"""Order and names in the graph: this not before that, traced once, called often."""

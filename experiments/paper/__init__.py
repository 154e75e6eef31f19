"""Which figures and tables the reproduction has, and which cells they are made from."""

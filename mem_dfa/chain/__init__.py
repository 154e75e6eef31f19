"""A Keras model cut into blocks; one block: run it, run it again, its local gradient."""

"""The command line: what an algorithm costs in memory, measured in fresh processes."""

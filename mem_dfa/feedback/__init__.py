"""Where a random error signal comes from: distributions and matrices."""

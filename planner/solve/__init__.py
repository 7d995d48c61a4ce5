"""Which is best? Takes a ready-made problem of columns, node types and limits; knows nothing of GPUs' physics."""

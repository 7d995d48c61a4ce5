"""What is a model made of? Tensors and layers, derived from a catalog entry or a config.json."""

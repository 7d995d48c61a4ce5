"""How each family of Hugging Face `config.json` maps onto our architectures."""

"""What exists? Accelerators, nodes, offers, prices, energy, formats, engines and models, each with its source."""

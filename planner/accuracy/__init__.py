"""Is it true? Predictions held against records of any origin: published, simulated, measured."""

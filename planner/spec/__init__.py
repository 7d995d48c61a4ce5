"""What is asked? The spec: its types, the guarded YAML reader, defaults, JSON Schema and starter text."""

"""Which ways work? Every way kept, and every GPU dropped with its reason."""

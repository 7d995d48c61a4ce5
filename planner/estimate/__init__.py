"""What does it take? Memory, speed, cost and power as pure arithmetic over columns of configurations."""

"""Fleets in which all demand is split at will over pools of GPUs: only counts of nodes are whole and are searched."""

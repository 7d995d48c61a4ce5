"""Device memory of inference and training: what torch allocates and reserves and what the driver shows."""

from planner.estimate.memory.device import usable_bytes
from planner.estimate.memory.infer import infer_memory
from planner.estimate.memory.train import train_memory

__all__ = ["infer_memory", "train_memory", "usable_bytes"]

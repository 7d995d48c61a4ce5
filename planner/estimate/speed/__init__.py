"""How fast: operation models, what engines make of them, and training steps."""

from planner.estimate.speed.infer import infer_speed
from planner.estimate.speed.train import train_speed

__all__ = ["infer_speed", "train_speed"]

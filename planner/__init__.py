"""Which GPUs, how many, in what precision, split how, and what will it cost?"""

__version__ = "0.1.0"

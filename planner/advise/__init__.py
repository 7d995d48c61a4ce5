"""What else would fit? Batch, context, GPUs, and the smallest change where a workload does not fit."""

"""One rank of several that hold the whole model: torch's DistributedDataParallel, with nobody to talk to.

Its reducer makes the gradient buckets and copies gradients into them, or makes gradients views of them. The exchange
itself is a hook that hands a bucket back: a group without partners has no result to wait for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch


def replicated(model: Any, *, bucket_view: bool, holds: Callable[[torch.Tensor, str], None]) -> Any:
    """The model inside DistributedDataParallel, to be called in its place; `holds` is told of its buckets."""
    from torch.nn.parallel import DistributedDataParallel

    made = DistributedDataParallel(model, gradient_as_bucket_view=bucket_view, init_sync=False)
    made.register_comm_hook(None, lambda state, bucket: exchanged(bucket, holds))
    return made


def exchanged(bucket: Any, holds: Callable[[torch.Tensor, str], None]) -> torch.futures.Future[torch.Tensor]:
    """The bucket, summed up in place."""
    holds(bucket.buffer(), "buckets")
    done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    done.set_result(bucket.buffer())
    return done


@contextlib.contextmanager
def exchanging(forward: Any, *, now: bool) -> Iterator[None]:
    """One micro-batch: gradients are exchanged in the last of a step alone."""
    with contextlib.nullcontext() if now or not hasattr(forward, "no_sync") else forward.no_sync():
        yield

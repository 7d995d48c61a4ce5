"""Parts put together: allocated, then reserved, then what the driver shows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from planner.estimate.types import PARTS, Floats, Memory

MOST_SEQUENCES = 65536


def bounded(sequences: Floats) -> Floats:
    """Whole sequences, none below zero."""
    result: Floats = np.clip(np.floor(sequences), 0.0, float(MOST_SEQUENCES))
    return result


def memory_of(
    parts: Mapping[str, Floats],
    *,
    context: Floats,
    fragmentation: Floats,
    static: Floats,
    host: Floats,
    disk: Floats,
    tokens: Floats,
    most: Floats,
    phase: NDArray[np.str_],
    cached: Floats | None = None,
) -> Memory:
    """Put the parts of the binding phase together: allocated, then reserved, then what the driver shows."""
    allocated = sum(parts.values(), np.zeros(1))
    columns = np.broadcast_arrays(allocated, context, fragmentation, static, host, disk, tokens, most)
    allocated, context, fragmentation, static, host, disk, tokens, most = columns
    shape = allocated.shape
    whole = {name: np.broadcast_to(parts.get(name, np.zeros(1)), shape) for name in PARTS}
    whole["context"] = context
    whole["fragmentation"] = fragmentation
    return Memory(
        parts=whole,
        allocated_peak_bytes=allocated,
        reserved_peak_bytes=allocated + fragmentation,
        device_peak_bytes=allocated + fragmentation + context,
        cached_bytes=np.broadcast_to(np.zeros(1) if cached is None else cached, shape),
        static_bytes=static,
        host_bytes=host,
        disk_bytes=disk,
        kv_cache_tokens=tokens,
        max_batch=most,
        phase=np.broadcast_to(phase, shape),
    )

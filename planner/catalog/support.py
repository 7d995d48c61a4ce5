"""Can a GPU run a weight format, and how?"""

from __future__ import annotations

import fnmatch

from planner.catalog.types import ArchSupport, Gpu, PrecisionFormat, Support


def support_of(gpu: Gpu, precision: PrecisionFormat, arch: ArchSupport) -> Support:
    """`native`, `weight-only` (stored, but expanded to a wider type before every product) or `no`.

    The architecture's row decides; a format that is expanded on every GPU is never native, and neither is
    one for whose products the GPU has no published rate (fp16 on a P40).
    """
    support: Support = getattr(arch, precision.needs)
    if support == "no" or not narrowed_in(precision, arch):
        return "no"
    if precision.weight_only:
        return "weight-only"
    rate: float | None = getattr(gpu.peak_flop_per_second, precision.compute)
    if support == "native" and rate is None and precision.compute != "fp32":
        return "weight-only"
    return support


def narrowed_in(precision: PrecisionFormat, arch: ArchSupport) -> bool:
    """Whether the architecture's column is open to this format: all are where `only` says nothing."""
    allowed = arch.only.get(precision.needs)
    return allowed is None or any(fnmatch.fnmatchcase(precision.id, pattern) for pattern in allowed)

"""Which GPUs of the catalog a workload fits, as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from planner.cli.console import table
from planner.units import GIB, usd

if TYPE_CHECKING:
    from planner.estimate.document import WorkloadEstimate

COLUMNS = ("GPU", "precision", "needs GiB", "has GiB", "tokens/s", "USD/hour")


def fits_text(estimates: Sequence[WorkloadEstimate]) -> str:
    """The GPUs it fits, cheapest first (unknown prices last, by memory), then how many it does not fit."""
    fitting = sorted((e for e in estimates if e.fits), key=price_order)
    lacking = [e for e in estimates if not e.fits]
    lines = [f"Fits {len(fitting)} of {len(estimates)} GPUs that can run it:"]
    if fitting:
        lines += [table([fit_row(e) for e in fitting], COLUMNS)]
    if lacking:
        nearest = min(lacking, key=lambda e: e.memory.device_peak_bytes - e.memory.usable_bytes)
        lines.append(
            f"Too small: {len(lacking)}; nearest {nearest.gpu}, which has {nearest.memory.usable_bytes / GIB:.2f} GiB"
            f" for {nearest.memory.device_peak_bytes / GIB:.2f}"
        )
    return "\n".join(lines)


def price_order(estimate: WorkloadEstimate) -> tuple[bool, float, int, str]:
    """Known prices first, then the price, the memory, the name."""
    price = estimate.cost.usd_per_hour
    return (price is None, price or 0.0, estimate.memory.usable_bytes, estimate.gpu)


def fit_row(estimate: WorkloadEstimate) -> dict[str, object]:
    """One line of the table; memory needed rounds up and memory there rounds down, so none fits by rounding."""
    speed = estimate.performance.output_tokens_per_second or estimate.performance.tokens_per_second
    price = estimate.cost.usd_per_hour
    return {
        "GPU": estimate.gpu if estimate.gpus == 1 else f"{estimate.gpus} x {estimate.gpu}",
        "precision": str(estimate.config["precision"]),
        "needs GiB": hundredths(-(-estimate.memory.device_peak_bytes * 100 // GIB)),
        "has GiB": hundredths(estimate.memory.usable_bytes * 100 // GIB),
        "tokens/s": "-" if speed is None else f"{speed:,.3g}" if speed < 100 else f"{speed:,.0f}",
        "USD/hour": "unknown" if price is None else usd(price).removesuffix(" USD"),
    }


def hundredths(count: int) -> str:
    """A whole number of hundredths with its point.

    >>> hundredths(1305)
    '13.05'
    """
    return f"{count // 100}.{count % 100:02}"

"""Advice for people: to spare, what else fits, and the smallest change where it does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from planner.units import GIB, usd

if TYPE_CHECKING:
    from planner.advise.types import Advice, AdvisedDocument, AdvisedEstimate, FittingGpu

MOST_GPUS_SHOWN = 8
MOST_CHANGES_SHOWN = 8


def advice_text(workload: AdvisedEstimate, *, title: str | None, document: AdvisedDocument, gpus: bool = True) -> str:
    """The advice of one workload in a few lines, below its details; `title` names it where there are several."""
    advice = workload.advice
    assert advice is not None
    lines = []
    if title is not None:
        lines.append(f"{title}: {verdict(workload.fits, advice, document)}")
        lines.append(f"  Largest {batch_word(workload)}: {advice.max_batch or 'none'}")
    lines.append(f"  {context_line(advice)}")
    if advice.changes:
        lines.append("  To make it fit, one of:")
        lines += [
            f"    - {c.change}: {gib_up(c.device_peak_bytes)} GiB, {gib_down(c.spare_bytes)} to spare, "
            f"{batch_word(workload).removesuffix(' that fits')} up to {c.max_batch}"
            for c in advice.changes[:MOST_CHANGES_SHOWN]
        ]
    elif not workload.fits:
        lines.append("  No change known here, and not all of them together, makes it fit on this kind of GPU.")
    if gpus:
        lines += gpu_lines(advice)
    return "\n".join(lines)


def verdict(fits: bool, advice: Advice, document: AdvisedDocument) -> str:
    """`fits with 4.1 GiB to spare, ± 0.6`: whole tenths, never rosier than the bytes."""
    share = f"{document.confidence:.0%}".replace("%", " %")
    at = f" at {share} confidence" if document.fits_at_confidence is not None else ""
    around = f"± {gib_up(advice.plus_minus_bytes)}" + ("" if at else f" at {share} confidence")
    if fits:
        return f"Fits{at} with {gib_down(advice.spare_bytes)} GiB to spare, {around}."
    if advice.spare_bytes < 0:
        return f"Does not fit{at}: {gib_up(-advice.spare_bytes)} GiB too much, {around}."
    if advice.spare_bytes < advice.plus_minus_bytes and at:
        return f"Does not fit{at}: {gib_down(advice.spare_bytes)} GiB to spare are too few, {around}."
    return f"Does not fit{at}: no sequence finds room, or the host's memory is too small."


def batch_word(workload: AdvisedEstimate) -> str:
    """What the largest batch counts."""
    return "micro-batch that fits" if workload.mode == "train" else "batch that fits"


def context_line(advice: Advice) -> str:
    """The longest context, and why it ends there."""
    found = advice.longest_context
    if found is None:
        return "Longest context: requests have no single length"
    if not found.num_tokens:
        return f"Longest context that fits: none at batch {found.batch}"
    split = f" ({found.input_tokens:,} in, {found.output_tokens:,} out)" if found.output_tokens else ""
    end = ", the model's maximum" if found.is_models_maximum else ""
    return f"Longest context that fits: {found.num_tokens:,} tokens{split}{end} at batch {found.batch}"


def gpu_lines(advice: Advice) -> list[str]:
    """The cheapest GPUs it fits, and how many more."""
    total = len(advice.fits_on) + advice.too_small
    order = "; cheapest first:" if advice.fits_on else "."
    lines = [f"  Fits {len(advice.fits_on)} of {total} kinds of GPU that can run it{order}"]
    lines += [f"    {gpu_text(g)}" for g in advice.fits_on[:MOST_GPUS_SHOWN]]
    more = len(advice.fits_on) - MOST_GPUS_SHOWN
    return [*lines, f"    and {more} more"] if more > 0 else lines


def gpu_text(gpu: FittingGpu) -> str:
    """One GPU with its price."""
    name = gpu.gpu if gpu.gpus == 1 else f"{gpu.gpus} x {gpu.gpu}"
    price = "price unknown" if gpu.usd_per_hour is None else f"{usd(gpu.usd_per_hour)}/h"
    return f"{name}, {gpu.precision}: {gib_up(gpu.device_peak_bytes)} of {gib_down(gpu.usable_bytes)} GiB, {price}"


def gib_up(n_bytes: int) -> str:
    """GiB rounded up to tenths: what is needed.

    >>> gib_up(1), gib_up(2**30), gib_up(0)
    ('0.1', '1.0', '0.0')
    """
    return tenths(-(-n_bytes * 10 // GIB))


def gib_down(n_bytes: int) -> str:
    """GiB rounded down to tenths: what is there.

    >>> gib_down(2**30 - 1)
    '0.9'
    """
    return tenths(n_bytes * 10 // GIB)


def tenths(count: int) -> str:
    """A whole number of tenths with its point; not below zero."""
    return f"{max(0, count) // 10}.{max(0, count) % 10}"

"""Lengths and letters of the bars: geometry as percent of a track, so that templates compute nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from planner.estimate.document import MemoryDocument
from planner.report.language import _
from planner.report.numbers import (
    MOST_DIGITS,
    binary_size,
    dealt_out,
    gib_units,
    localised,
    one_unit,
    percent,
    unit_text,
    whole,
)
from planner.report.types import MemoryBar, Pair, Segment
from planner.report.words import PARTS, PHASES, called

WHOLE_SHARE = 1000
"""Tenths of a percent in the whole."""
NARROWEST_MARKED = 0.022
"""Share of the track below which a part has no room for its mark."""
MEMORY_DIGITS = 2
"""Digits of GiB, unless a comparison needs more."""


def at(share: float) -> str:
    """A place on a track, kept inside it.

    >>> at(0.125), at(1.7)
    ('12.5%', '100%')
    """
    return f"{100 * min(1.0, max(0.0, share)):.3f}".rstrip("0").rstrip(".") + "%"


NUM_TONES = 8
"""Workload colours; further workloads start again, told apart by their letter."""


def tone(index: int) -> str:
    """Key of the colour of the workload, or of the line of the bill, at `index`.

    >>> tone(9)
    'tone-1'
    """
    return f"tone-{index % NUM_TONES}"


def letter(index: int) -> str:
    """A, B, ... Z, AA, AB ...: the mark of the workload at `index`.

    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'AA')
    """
    first, last = divmod(index, 26)
    return (letter(first - 1) if first else "") + chr(ord("A") + last)


def part_label(key: str) -> str:
    """What a part of memory is called."""
    return called(PARTS, key)


def ordered_parts(per_gpu_bytes: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """The parts that hold anything, in stacking order; unknown ones last."""
    known = [k for k in PARTS if k in per_gpu_bytes]
    further = sorted(k for k in per_gpu_bytes if k not in PARTS)
    return tuple((k, per_gpu_bytes[k]) for k in (*known, *further) if per_gpu_bytes[k])


def stacked(
    rows: Sequence[tuple[str, str, str, str, str]], sizes: Sequence[float], track: float
) -> tuple[Segment, ...]:
    """Segments of a stacked bar from (key, mark, label, value, share) rows; `track` is the size of the track."""
    out: list[Segment] = []
    left = 0.0
    for (key, mark, label, value, share), size in zip(rows, sizes, strict=True):
        width = size / track if track else 0.0
        out.append(
            Segment(
                key=key,
                label=label,
                mark=mark,
                inside=mark if width >= NARROWEST_MARKED else "",
                value=value,
                share=share,
                left=at(left),
                middle=at(left + width / 2),
                width=at(width),
            )
        )
        left += width
    return tuple(out)


def share_units(part: int, whole_size: int) -> int:
    """A share in tenths of a percent; the whole (1000) only where part and whole are equal.

    >>> share_units(9997, 10000), share_units(10000, 10000), share_units(10001, 10000)
    (999, 1000, 1001)
    """
    units = (2 * part * WHOLE_SHARE + whole_size) // (2 * whole_size)
    if part < whole_size:
        return min(units, WHOLE_SHARE - 1)
    return units if part == whole_size else max(units, WHOLE_SHARE + 1)


def share_text(size: float, units: int) -> str:
    """Tenths of a percent as text; something that is there is never 0.

    >>> share_text(5, 125), share_text(5, 0)
    ('12.5 %', '<0.1 %')
    """
    return unit_text(units, 1, " %") if units or not size else localised("<0.1 %")


def memory_digits(peak_bytes: int, limit_bytes: int, usable_bytes: int) -> int:
    """Digits of GiB that keep unequal peak, limit and capacity looking unequal."""
    distinct = len({peak_bytes, limit_bytes, usable_bytes})
    for digits in range(MEMORY_DIGITS, MOST_DIGITS):
        if len({gib_units(b, digits) for b in (peak_bytes, limit_bytes, usable_bytes)}) == distinct:
            return digits
    return MOST_DIGITS


def rounded_parts(parts: Sequence[tuple[str, int]], total_units: int, digits: int) -> tuple[int, ...]:
    """Each (key, bytes) part rounded to `digits` of GiB, so that they add up to `total_units`.

    What rounding leaves over goes, a last digit each, to parts whose figure stands nowhere else: weights and KV cache
    keep the text that they have in other places.

    >>> third = 5726623061                                     # 5.333... GiB, three times: 16
    >>> rounded_parts([("weights", third), ("kv_cache", third), ("context", third)], 1600, 2)
    (533, 533, 534)
    """
    units = [gib_units(n, digits) for _, n in parts]
    left = total_units - sum(units)
    step = 1 if left > 0 else -1
    room = [gib_units(n, digits + 2) * step - 100 * u * step for (_, n), u in zip(parts, units, strict=True)]
    held = [i for i, (_, n) in enumerate(parts) if n]
    order = sorted(held, key=lambda i: (_firmness(parts[i][0]), -room[i]))
    while left and any(units[i] + step >= 0 for i in held):
        for i in order:
            if left and units[i] + step >= 0:
                units[i] += step
                left -= step
    return tuple(units)


def _firmness(key: str) -> int:
    """How far a part's figure is known from elsewhere: 0 = only here."""
    return (
        0 if key in ("fragmentation", "context", "workspace", "logits", "other") else 1 if key == "activations" else 2
    )


def memory_bar(
    memory: MemoryDocument,
    *,
    headroom: float | None,
    fits: bool,
    upper_bytes: float | None = None,
    asked_surely: bool = False,
) -> MemoryBar:
    """The memory of the fullest GPU as a stacked bar against its capacity.

    `headroom` is the share of the device that has to stay free; None where that is not known. `upper_bytes` is the
    upper end of the peak's interval; `asked_surely`: `fits` was asked there and not at the peak.
    """
    usable, peak = memory.usable_bytes, memory.device_peak_bytes
    limit = int(usable * (1 - (headroom or 0.0)))
    digits = memory_digits(peak, limit, usable)
    parts = ordered_parts(memory.per_gpu_bytes)
    missing = peak - sum(n for _, n in parts)
    if missing > 0:
        parts = (*parts, ("other", missing))
    peak_units, usable_units = gib_units(peak, digits), gib_units(usable, digits)
    shown_units = rounded_parts(parts, peak_units, digits)
    used = share_units(peak, usable)
    shares = dealt_out([n for _, n in parts], used)
    rows = [
        (key, str(i), part_label(key), _part_text(n, units, digits), share_text(n, share))
        for i, ((key, n), units, share) in enumerate(zip(parts, shown_units, shares, strict=True), start=1)
    ]
    sizes: list[float] = [float(n) for _, n in parts]
    if usable > peak:
        free = unit_text(usable_units - peak_units, digits)
        rows.append(("free", "", _("Free"), free, share_text(usable - peak, WHOLE_SHARE - used)))
        sizes.append(float(usable - peak))
    track = float(max(usable, peak))
    peak_text, limit_text = unit_text(peak_units, digits), unit_text(gib_units(limit, digits), digits)
    around = None if upper_bytes is None else unit_text(gib_units(math.ceil(upper_bytes) - peak, digits), digits)
    needed_units = gib_units(memory.needed_bytes, digits)
    spare = unit_text(gib_units(limit, digits) - needed_units, digits) if peak <= limit else None
    cached = unit_text(peak_units - needed_units, digits) if peak_units > needed_units else ""
    return MemoryBar(
        segments=stacked(rows, sizes, track),
        peak=peak_text,
        usable=unit_text(usable_units, digits),
        used_share=share_text(peak, used),
        limit=limit_text,
        limit_at=at(limit / track),
        capacity_at=at(usable / track),
        headroom=percent(headroom or 0.0),
        fits=fits,
        verdict=_plain_verdict(fits, peak, usable, (peak_text, unit_text(usable_units, digits)))
        if headroom is None
        else _sure_verdict(spare, around)
        if asked_surely and not fits and spare is not None and around is not None and (upper_bytes or 0) > limit
        else _verdict(
            fits,
            peak,
            limit,
            usable,
            (peak_text, limit_text, unit_text(usable_units, digits)),
            spare=spare,
            around=around,
            cached=cached,
        ),
        phase=called(PHASES, memory.phase),
        beside=_beside(memory),
    )


def _part_text(n_bytes: int, units: int, digits: int) -> str:
    """A part that is there never prints as zero."""
    return unit_text(units, digits) if units or not n_bytes else f"<{one_unit(digits)}"


def _plain_verdict(fits: bool, peak: int, usable: int, texts: tuple[str, str]) -> str:
    """The same where the headroom is not known."""
    peak_text, usable_text = texts
    if fits:
        text = _("Fits: the peak is {peak} of {usable} GiB.")
    elif peak <= usable:
        text = _("Does not fit: the peak of {peak} of {usable} GiB leaves too little free, or the host does.")
    else:
        text = _("Does not fit: the peak of {peak} GiB is above the {usable} GiB of the device.")
    return text.format(peak=peak_text, usable=usable_text)


def _verdict(
    fits: bool,
    peak: int,
    limit: int,
    usable: int,
    texts: tuple[str, str, str],
    *,
    spare: str | None,
    around: str | None,
    cached: str,
) -> str:
    """How peak, limit and capacity compare; `fits` is the estimate's word and is never contradicted.

    `spare` is what is left of the limit, `around` by how much predictions of this kind have been short, `cached` what
    of the peak is only the allocator's cache.
    """
    peak_text, limit_text, usable_text = texts
    if fits and peak <= limit:
        text = _fits_text(is_sure=spare is not None and around is not None, has_cache=bool(cached))
    elif fits:
        text = _("Fits the device's {usable} GiB, but the peak of {peak} GiB eats into the headroom.")
    elif peak <= limit:
        text = _("Does not fit for another reason than GPU memory: its peak is {peak} of {usable} GiB.")
    elif peak <= usable:
        text = _("Does not fit: the peak of {peak} GiB is above the limit of {limit} GiB.")
    else:
        text = _("Does not fit: the peak of {peak} GiB is above the {usable} GiB of the device.")
    return text.format(
        peak=peak_text, limit=limit_text, usable=usable_text, spare=spare or "", around=around or "", cached=cached
    )


def _fits_text(*, is_sure: bool, has_cache: bool) -> str:
    """The sentence for a peak within the limit."""
    if is_sure and has_cache:
        return _(
            "Fits with {spare} GiB to spare, ± {around}: the peak of {peak} GiB, {cached} GiB of it cached blocks that "
            "the allocator gives back when short, is within the limit of {limit} GiB."
        )
    if is_sure:
        return _(
            "Fits with {spare} GiB to spare, ± {around}: the peak of {peak} GiB is within the limit of {limit} GiB."
        )
    if has_cache:
        return _(
            "Fits: the peak of {peak} GiB, {cached} GiB of it cached blocks that the allocator gives back when short, "
            "is within the limit of {limit} GiB."
        )
    return _("Fits: the peak of {peak} GiB is within the limit of {limit} GiB.")


def _sure_verdict(spare: str, around: str) -> str:
    """The peak is within the limit, but the upper end of its interval is not."""
    return _("Does not fit surely: {spare} GiB to spare are too few, ± {around}.").format(spare=spare, around=around)


def _beside(memory: MemoryDocument) -> tuple[Pair, ...]:
    """Memory figures that stand beside the bar; those that are zero or do not apply are left out."""
    pairs = [
        (_("Allocated peak"), binary_size(memory.allocated_peak_bytes)),
        (_("Reserved peak"), binary_size(memory.reserved_peak_bytes)),
        (_("Weights, gradients and optimizer"), binary_size(memory.static_bytes) if memory.static_bytes else ""),
        (_("Host memory"), binary_size(memory.host_bytes) if memory.host_bytes else ""),
        (_("Disk"), binary_size(memory.disk_bytes) if memory.disk_bytes else ""),
        (_("Largest batch that fits"), whole(memory.max_batch) if memory.max_batch else _("none")),
        (_("Tokens the KV cache holds"), whole(memory.kv_cache_tokens) if memory.kv_cache_tokens else ""),
    ]
    return tuple(Pair(label=label, value=value) for label, value in pairs if value)

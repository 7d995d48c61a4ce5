"""The accuracy page and the short tables of the README: Markdown from scored records, nothing typed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from planner.accuracy.bounds import Cause, cause_of
from planner.accuracy.figures import Figures, figures, grouped, share
from planner.accuracy.intervals import CONFIDENCES, Residual, families, left_out_places
from planner.accuracy.kinds import KINDS, of_family, table
from planner.accuracy.peers import Peer, peer_tables
from planner.accuracy.score import interval_of_rule
from planner.accuracy.tables import (
    BIAS,
    COLUMNS,
    MAPE,
    MEDIAN,
    P90,
    ROWS,
    SHORT_COLUMNS,
    SOURCES,
    WITHIN_20,
    markdown,
    percent,
    worst_rows,
)
from planner.accuracy.types import Scored

NUM_WORST = 30
STRATUM_COLUMNS = (ROWS, SOURCES, MEDIAN, MAPE, P90, BIAS, WITHIN_20)
TITLES = {
    ("published", "memory"): "Memory, published measurements",
    ("published", "speed"): "Speed, published measurements",
    ("simulated", "memory"): "Memory, simulated cases",
    ("simulated", "speed"): "Speed, simulated cases",
    ("measured", "memory"): "Memory, measured by this project",
    ("measured", "speed"): "Speed, measured by this project",
}
INTRODUCTION = """\
# How accurate predictions are

Made by `python benchmarks/accuracy.py` from the records in `validation/records/`; a test makes it again and compares.
`plan validate --records PATH` prints the same tables for any records.

Every figure was measured by somebody; the planner was given the configuration as its source states it, and nothing
else. Errors are (predicted - measured) / measured; *median*, *mean* and *90th percentile* are of their absolute values,
*bias* is the median with its sign. *Median by source* is the mean over published tables of each table's median, so that
a table of 250 rows weighs no more than one of five. *Order* is Kendall's tau-b between predicted and measured over the
configurations of one model on one GPU in one table, averaged over all such sweeps of four or more.
"""
PEERS_INTRODUCTION = """\
The same rows, predicted by public packages at the versions named, each on the rows that it can answer; *ours* is this
planner on exactly those rows. `validation/records/peers/` holds what they said, how they were asked, and what they
could not answer. Of the memory tools, accelerate counts weights (in training: states), hf-mem weights and cache,
DeepSpeed states: what they leave out is part of their error. Of the speeds, ours come from parameters fitted to these
very tables; what sources left out of the fit meet is under *Intervals*.
"""
NOT_MEASURED = """\
## Measured by this project

No record of a GPU of this project's own is here yet. `plan validate --suite validation/suites/single-gpu.yaml` on a
machine with a GPU writes them to `validation/records/`, and this page shows them from then on.
"""


def page(
    rows: Sequence[Scored], causes: Sequence[Cause], peers: Sequence[Peer], errors: Sequence[Residual], stretch: Stretch
) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for (origin, family), title in TITLES.items():
        of = [r for r in of_family(rows, family) if r.origin == origin]
        if of:
            parts.append(family_section(title, of, origin, family))
    if not any(r.origin == "measured" for r in rows):
        parts.append(NOT_MEASURED)
    if peers:
        parts.append(peers_section(rows, peers))
    parts += [intervals_section(rows, errors, stretch), worst_section(rows, causes)]
    return "\n".join(parts)


Stretch = Mapping[str, Mapping[float, float]]


def family_section(title: str, rows: Sequence[Scored], origin: str, family: str) -> str:
    """The main table of one origin and family, and the same rows cut in other ways."""
    main = markdown(table(rows, KINDS[origin, family]), COLUMNS[family])
    num_sources = len({r.source for r in rows})
    lead = f"## {title}\n\n{len(rows):,} figures of {num_sources} sources.\n\n{main}"
    cuts = {
        "framework": lambda r: r.framework,
        "GPU generation": lambda r: r.answer.arch if r.answer else "none",
        "quantity": lambda r: r.rule,
        "source": lambda r: r.source,
    }
    more = [markdown(stratum(rows, key), STRATUM_COLUMNS, first=first) for first, key in cuts.items()]
    return lead + "\n" + "\n".join(more)


def stratum(rows: Sequence[Scored], key: object) -> dict[str, Figures]:
    """Figures by a property of the rows."""
    assert callable(key)
    return {name: figures(of) for name, of in grouped(rows, key).items()}


def peers_section(rows: Sequence[Scored], peers: Sequence[Peer]) -> str:
    """The same rows beside other public estimators."""
    parts = [
        "## Beside other estimators\n",
        PEERS_INTRODUCTION,
    ]
    for peer in peers:
        parts.append(f"**{peer.name} {peer.version}**: {peer.what}\n")
        tables = peer_tables(peer, rows)
        parts += [markdown(t, (ROWS, MEDIAN, MAPE, P90, BIAS, WITHIN_20)) for t in tables]
        if not tables:
            parts.append("No row that it can answer.\n")
    return "\n".join(parts)


def intervals_section(rows: Sequence[Scored], errors: Sequence[Residual], stretch: Stretch) -> str:
    """What share of measurements the shipped intervals hold, and those made without each source."""
    shipped = ["| figures | rows | " + " | ".join(f"{c:.0%}".replace("%", " %") for c in CONFIDENCES) + " |"]
    shipped.append("| --- |" + " ---: |" * (len(CONFIDENCES) + 1))
    for (origin, family), title in TITLES.items():
        of = [r for r in of_family(rows, family) if r.origin == origin and r.predicted]
        if of:
            cells = " | ".join(percent(held(of, c), 0) for c in CONFIDENCES)
            shipped.append(f"| {title} | {len(of):,} | {cells} |")
    return (
        "## Intervals\n\n"
        "Share of measurements inside the shipped intervals (`catalogs/intervals.yaml`), by the share they claim.\n\n"
        + "\n".join(shipped)
        + "\n\nThe same, each source judged by intervals made without it: what a source nobody has seen will meet.\n\n"
        + left_out_table(errors, stretch)
    )


def held(rows: Sequence[Scored], confidence: float) -> float | None:
    """Share of the rows inside the shipped intervals at a confidence."""
    inside = []
    for r in rows:
        if r.answer is None or r.predicted is None:
            continue
        low, high = interval_of_rule(r.rule, r.predicted, r.answer, confidence)
        inside.append(low <= r.measured <= high)
    return share(inside)


def left_out_table(errors: Sequence[Residual], stretch: Stretch) -> str:
    """Coverage of each family's intervals made without the source they are judged on."""
    lines = ["| figures | rows | " + " | ".join(f"{c:.0%}".replace("%", " %") for c in CONFIDENCES) + " |"]
    lines.append("| --- |" + " ---: |" * (len(CONFIDENCES) + 1))
    for family, of in sorted(families(errors).items()):
        needed = left_out_places(of)
        cells = " | ".join(percent(float((needed[c] <= stretch[family][c]).mean()), 0) for c in CONFIDENCES)
        lines.append(f"| {family} | {len(of):,} | {cells} |")
    return "\n".join(lines) + "\n"


def worst_section(rows: Sequence[Scored], causes: Sequence[Cause]) -> str:
    """The rows furthest off, and why; of simulated cases the peaks alone."""
    real = [r for r in rows if r.origin != "simulated"]
    lists = {
        "Memory": of_family(real, "memory"),
        "Speed": of_family(real, "speed"),
        "Peaks of simulated cases": [r for r in rows if r.origin == "simulated" and r.rule == "allocated"],
    }
    parts = ["## Furthest off\n"]
    for title, of in lists.items():
        if not of:
            continue
        lines = ["| error | record | model | on | quantity | why |", "| ---: | --- | --- | --- | --- | --- |"]
        lines += [worst_line(r, cause_of(causes, r) or "open") for r in worst_rows(of, NUM_WORST)]
        parts.append(f"{title}:\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def worst_line(row: Scored, why: str) -> str:
    """One row: how far off, which, and why."""
    assert row.answer is not None
    error = f"{row.error:+.0%}".replace("%", " %")
    return f"| {error} | {row.record} | {row.model} | {row.framework}, {row.answer.gpu} | {row.rule} | {why} |"


def short_tables(rows: Sequence[Scored]) -> str:
    """The README's tables: published measurements, the main columns."""
    parts = []
    for family, what in (("memory", "Peaks and buffers in bytes"), ("speed", "Rates and latencies")):
        of = [r for r in of_family(rows, family) if r.origin == "published"]
        lead = f"{what}, against {len(of):,} published measurements of {len({r.source for r in of})} sources:"
        parts.append(
            f"{lead}\n\n{markdown(table(of, KINDS['published', family]), SHORT_COLUMNS[family], first=family)}"
        )
    simulated = [r for r in rows if r.origin == "simulated"]
    if simulated:
        lead = f"Peaks of {len(simulated):,} figures of simulated cases, the real model code on fake tensors:"
        body = markdown(table(simulated, KINDS["simulated", "memory"]), SHORT_COLUMNS["memory"], first="simulated")
        parts.append(f"{lead}\n\n{body}")
    return "\n".join(parts)

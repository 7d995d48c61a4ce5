"""Explanations as plain text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from planner.explain.steps import Explanation, RunnerUp, Step
from planner.report.markdown import escaped
from planner.report.terminal import wrapped

MOST_REJECTED = 30
INDENT = "    "


def as_text(explanations: Sequence[Explanation], proof: str) -> str:
    """Plain text, one workload after another, the proof last."""
    lines: list[str] = []
    for e in explanations:
        lines += [e.workload, "=" * len(e.workload), *wrapped(e.runs_as), "", *wrapped(e.why), ""]
        lines += [e.note, ""] if e.note else []
        for group in e.groups:
            lines += [group.title, "-" * len(group.title)]
            for step in group.steps:
                lines += _step_lines(step)
            lines.append("")
        lines += _runner_up_lines(e.runners_up)
        lines += _rejected_lines(e.rejected)
    return "\n".join([*lines, *wrapped(proof)]) + "\n"


def _step_lines(step: Step) -> list[str]:
    lines = [f"  {step.figure}"]
    for label, text in (
        ("formula", step.formula),
        ("numbers", step.numbers),
        ("result", step.result),
        ("source", step.source),
    ):
        first, *further = wrapped(text, width=84) or [""]
        lines.append(f"{INDENT}{label:<8} {first}")
        lines += [f"{INDENT}{'':<8} {line}" for line in further]
    return lines


def _runner_up_lines(runners: Sequence[RunnerUp]) -> list[str]:
    if not runners:
        return []
    lines = ["Why not another way", "-------------------"]
    for r in runners:
        lines += [*wrapped(r.what, indent="  "), *wrapped(f"{r.price}: {r.reason}", indent=INDENT)]
    return [*lines, ""]


def _rejected_lines(rejected: Sequence[tuple[str, str]]) -> list[str]:
    if not rejected:
        return []
    hidden = len(rejected) - MOST_REJECTED
    lines = ["What cannot run it", "------------------"]
    lines += [line for gpu, reason in rejected[:MOST_REJECTED] for line in wrapped(f"{gpu}: {reason}", indent="  ")]
    lines += [f"  and {hidden} more in plan.json"] if hidden > 0 else []
    return [*lines, ""]


def as_markdown(explanations: Sequence[Explanation], proof: str) -> str:
    """Markdown: one table of steps a group."""
    lines: list[str] = []
    for e in explanations:
        lines += [f"## {escaped(e.workload)}", "", f"{escaped(e.runs_as)}.", "", escaped(e.why), ""]
        lines += [e.note, ""] if e.note else []
        for group in e.groups:
            lines += [f"### {group.title}", "", "| figure | formula | numbers | result | source |", "|" + " --- |" * 5]
            lines += [_row(s.figure, s.formula, s.numbers, s.result, s.source) for s in group.steps]
            lines.append("")
        if e.runners_up:
            lines += ["### Why not another way", "", "| way | price | why not |", "|" + " --- |" * 3]
            lines += [_row(r.what, r.price, r.reason) for r in e.runners_up]
            lines.append("")
        if e.rejected:
            lines += ["### What cannot run it", "", "| GPU | nearest miss |", "|" + " --- |" * 2]
            lines += [_row(gpu, reason) for gpu, reason in e.rejected[:MOST_REJECTED]]
            lines.append("")
    return "\n".join([*lines, escaped(proof)]) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(escaped(c) for c in cells) + " |"

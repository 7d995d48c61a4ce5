"""A plan as Markdown short enough for a pull-request comment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from planner.report.bidi import isolated
from planner.report.language import _, speaking
from planner.report.numbers import whole
from planner.report.phrases import sentence
from planner.report.types import ReportView

MOST_ROWS = 20
_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~$&@])")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|mailto|javascript|data|file|www)([:.])")


def escaped(text: str) -> str:
    """Text that stays text: no markup, no mention, no automatic link.

    >>> escaped("a|b @c #1 <i>")
    'a\\\\|b \\\\@\u2060c \\\\#\u20601 \\\\<i\\\\>'
    """
    unlinked = _ADDRESS.sub("\\1\u2060\\2", isolated(text))
    return _SPECIAL.sub(r"\\\1", unlinked).replace("\\@", "\\@\u2060").replace("\\#", "\\#\u2060")


def render_markdown(view: ReportView) -> str:
    """Decision, key figures, bill of materials and workloads."""
    with speaking(view.masthead.language, digits=view.masthead.digits):
        body = _markdown(view)
    if view.masthead.direction == "ltr":
        return body
    return f'<div dir="rtl" lang="{view.masthead.language}">\n\n{body}\n</div>\n'


def _markdown(view: ReportView) -> str:
    lines = [f"## {escaped(view.masthead.title)}", "", f"**{view.status_word}.** {escaped(view.decision)}", ""]
    if view.figures:
        lines += _table(
            ["", ""],
            [(f.label, " ".join(filter(None, (f.value, f.unit, f.note and f"({f.note})")))) for f in view.figures],
        )
    if view.infeasible is not None:
        conflict = [(c.where, c.limit, c.value, c.text) for c in view.infeasible.conflict]
        lines += _table([_("where"), _("requirement"), _("value"), _("meaning")], conflict)
        changes = [(r.limit, r.value, r.usd_per_hour, r.text) for r in view.infeasible.relaxations]
        lines += _table([_("requirement"), _("new value"), _("plan would cost"), _("change")], changes)
        for group in view.infeasible.unplaceable:
            lines += _table(
                [_("GPU for {workload}").format(workload=group.workload), _("nearest miss")],
                [(r.gpus, r.reason) for r in group.rows],
            )
    bill = [(r.item, r.gpu, r.procurement, r.gpus, r.usd_per_hour) for r in view.bill.rows]
    if bill:
        bill.append((_("total"), "", "", view.bill.gpus, view.bill.usd_per_hour))
        lines += _table(
            [_("item"), _("GPU"), _("how"), _("GPUs"), _("{currency}/h").format(currency=view.currency)], bill
        )
    workloads = [(w.name, w.summary, f"{w.memory.peak} / {w.memory.usable} GiB", w.status_word) for w in view.workloads]
    lines += _table([_("workload"), _("runs as"), _("memory a GPU"), _("targets")], workloads)
    lines += [escaped(view.proof), ""]
    lines += [*(f"- {escaped(text)}" for text in view.outlook), ""] if view.outlook else []
    seen = [(e.workload, e.figure, e.measured, e.predicted, e.error, e.differs) for e in view.evidence]
    lines += _table([_("evidence for"), _("figure"), _("measured"), _("predicted"), _("error"), _("differs in")], seen)
    lines += [f"- ⚠ {escaped(sentence(w))}" for w in view.warnings]
    return "\n".join(lines).rstrip("\n") + "\n"


def _misses_head(workload: str) -> list[str]:
    return [_("GPU for {workload}").format(workload=workload), _("nearest miss")]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of at most `MOST_ROWS` rows, then how many were left out; nothing for no rows."""
    if not rows:
        return []
    lines = [_line(head), "|" + " --- |" * len(head)]
    lines += [_line(row) for row in rows[:MOST_ROWS]]
    hidden = len(rows) - MOST_ROWS
    return [*lines, "", *([_("{n} more in plan.json.").format(n=whole(hidden)), ""] if hidden > 0 else [])]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escaped(c).strip() for c in cells) + " |"

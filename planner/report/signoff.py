"""Versions of the plan, and the block in which it is approved."""

from __future__ import annotations

from collections.abc import Iterator

from planner.plan.types import Plan
from planner.report.dates import date_text
from planner.report.language import _
from planner.report.numbers import shown
from planner.report.sections import SignoffView
from planner.report.workloads import UNKNOWN

HASH_CHARS = 12
"""Characters of a hash that tell versions apart."""


def signoff_view(plan: Plan, *, author: str, status_word: str) -> SignoffView:
    """The section; `author` is the one of the report, empty where it is not known."""
    return SignoffView(
        versions=tuple(_versions(plan, status_word)),
        roles=(
            (_("Prepared by"), author),
            (_("Technical review"), ""),
            (_("Procurement"), ""),
            (_("Budget owner"), ""),
        ),
    )


def _versions(plan: Plan, status_word: str) -> Iterator[tuple[str, str, str, str]]:
    """The plan in use, where there is one, then this one."""
    if plan.moves is not None:
        before = _("plan {hash}").format(hash=_hash(plan.moves.from_sha256))
        yield before, UNKNOWN, UNKNOWN, shown(plan.moves.from_plan)
    now = _("spec {hash}").format(hash=_hash(plan.spec_sha256))
    made = _("planner {version}").format(version=shown(plan.planner_version))
    yield now, date_text(plan.created[:10]), made, status_word


def _hash(text: str) -> str:
    return shown(text[:HASH_CHARS]) or UNKNOWN

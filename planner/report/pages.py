"""Which workloads have a page on paper: of a large fleet those that cost most; the HTML file has all."""

from __future__ import annotations

from planner.plan.types import Plan

MOST_PAGES = 24
"""A hundred workloads with two pages each are a stack nobody reads, and half a minute of layout."""


def off_paper(plan: Plan) -> tuple[str, ...]:
    """Names of the workloads without pages of their own on paper, in the plan's order; those that cost least an hour,
    of equals the later ones."""
    order = sorted(range(len(plan.workloads)), key=lambda n: (-(plan.workloads[n].cost.usd_per_hour or 0.0), n))
    kept = set(order[:MOST_PAGES])
    return tuple(w.name for n, w in enumerate(plan.workloads) if n not in kept)

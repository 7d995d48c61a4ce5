"""Why there is no answer: the smallest set of requirements that clash, and the smallest way out of each."""

from __future__ import annotations

from collections.abc import Iterable

from planner.errors import NoPlanInTimeError
from planner.solve.instance import Instance, prepare
from planner.solve.objective import hold, level, make_all_small, make_small
from planner.solve.rules import requirements
from planner.solve.search import Effort, ask, build_model
from planner.solve.solution import Relaxation


def explain(i: Instance, effort: Effort) -> tuple[tuple[str, ...], tuple[Relaxation, ...]]:
    """A minimal conflict of an infeasible instance, and for each limit in it the smallest relaxation.

    Where no limit of the conflict is enough on its own, because another one binds as well, the relaxations are
    those of the cheapest plan there is without any limit, and hold together.

    Every requirement in the conflict is needed for it: leaving any one out gives a feasible rest of it. Where
    supply alone cannot carry the workloads, the conflict names workloads instead of limits. When the effort ends
    meanwhile, the conflict is everything that could be relaxed, which is true but not minimal.
    """
    names = requirements(i)
    try:
        if not _is_feasible(i, effort, ()):
            return _clashing_workloads(i, effort), ()
        conflict = _filtered(i, effort, names)
        relaxed = [r for r in (_relaxed(i, effort, name) for name in conflict) if r is not None]
        found = tuple(relaxed) or _relaxed_together(i, effort)
    except NoPlanInTimeError:
        return names or tuple(f"workload.{w.id}" for w in i.workloads), ()
    return conflict, found


def _is_feasible(i: Instance, effort: Effort, kept: Iterable[str]) -> bool:
    m, x = build_model(i, kept=tuple(kept))
    return ask(m, effort, shares=x.shares).is_feasible


def _filtered(i: Instance, effort: Effort, names: tuple[str, ...]) -> tuple[str, ...]:
    """Deletion filter: leave out, one after another, what the conflict does not need. Stocks go as one first."""
    kept = list(names)
    limits = [n for n in names if not n.startswith("stock.")]
    if len(limits) < len(names) and limits and not _is_feasible(i, effort, limits):
        kept = limits
    for name in names:
        if name not in kept:
            continue
        rest = [n for n in kept if n != name]
        if not _is_feasible(i, effort, rest):
            kept = rest
    return tuple(kept)


def _relaxed(i: Instance, effort: Effort, name: str) -> Relaxation | None:
    """The least that one limit must allow when all others stay, and the least cost then; None if that is not enough."""
    others = tuple(n for n in requirements(i) if n != name)
    m, x = build_model(i, kept=others)
    needed = level(name, i, x, m)
    make_all_small((needed,), m)
    answer = ask(m, effort, shares=x.shares)
    if not answer.is_feasible:
        return None
    value = answer.value(needed.measured)
    if name == "cost":
        return Relaxation(limit=name, value=value, cost=value)
    hold(needed, value, m, exactly=answer.is_proven)
    spend = make_small("cost", i, x, m)
    cheapest = ask(m, effort, shares=x.shares)
    return Relaxation(limit=name, value=value, cost=cheapest.value(spend))


def _relaxed_together(i: Instance, effort: Effort) -> tuple[Relaxation, ...]:
    """What every limit must allow for the cheapest plan: first the cost is made least, then each limit in turn.

    Stocks stay as they are where a plan exists within them.
    """
    limits = i.problem.limits.given()
    stocks = tuple(n for n in requirements(i) if n not in limits)
    kept = stocks if _is_feasible(i, effort, stocks) else ()
    m, x = build_model(i, kept=kept)
    reached: dict[str, int] = {}
    for name in dict.fromkeys(("cost", *limits, *(n for n in stocks if n not in kept))):
        needed = level(name, i, x, m)
        make_all_small((needed,), m)
        answer = ask(m, effort, shares=x.shares)
        reached[name] = answer.value(needed.measured)
        hold(needed, reached[name], m, exactly=answer.is_proven)
    exceeded = [n for n in requirements(i) if n in reached and reached[n] > _allowed(i, n)]
    cost = reached["cost"]
    return tuple(Relaxation(limit=n, value=reached[n], cost=cost, together=True) for n in exceeded)


def _allowed(i: Instance, name: str) -> int:
    """What a requirement allows now."""
    limits = i.problem.limits.given()
    if name in limits:
        return limits[name]
    node = i.node_types[name.removeprefix("stock.")]
    return min(n for n in (node.stock, node.cost_max_nodes) if n is not None)


def _clashing_workloads(i: Instance, effort: Effort) -> tuple[str, ...]:
    """A smallest set of workloads that what is owned or can be had does not carry, whatever the limits."""
    kept = [w.id for w in i.workloads]
    for name in list(kept):
        rest = [k for k in kept if k != name]
        subset = i.problem.model_copy(update={"workloads": tuple(w for w in i.workloads if w.id in rest)})
        if rest and not _is_feasible(prepare(subset), effort, ()):
            kept = rest
    return tuple(f"workload.{k}" for k in kept)

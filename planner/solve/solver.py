"""The whole question: least of each objective in turn, proof, packing; or why there is no answer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from planner.errors import NoPlanInTimeError
from planner.solve.conflict import explain
from planner.solve.cp import CpModel
from planner.solve.instance import Instance, prepare
from planner.solve.measures import PER_NODE, limited
from planner.solve.objective import (
    MAX_WEIGHTED,
    MAX_WEIGHTED_FLOAT,
    Level,
    first_that_fit,
    hold,
    level,
    make_all_small,
    prefer_first,
    weights,
)
from planner.solve.places import placed
from planner.solve.problem import Problem, Workload
from planner.solve.rules import fluid_loads
from planner.solve.scale import FLUID_GRID, at_least
from planner.solve.search import LONG_ROUNDS, Answer, Effort, ask, ask_in_rounds, build_model, hint, hint_choices
from planner.solve.solution import Assignment, Payment, PaymentKind, Solution
from planner.solve.variables import FleetVars
from planner.solve.verify import verify

TIES_LIMIT = 0.2
"""Deterministic effort for settling ties that no objective settles; they are settled the same way each time."""
MEASURES = ("cost", *PER_NODE, "capex", "preference", "moves")


def solve(
    problem: Problem,
    *,
    seed: int = 0,
    time_limit_s: float | None = None,
    deterministic_limit: float | None = None,
    start_from: Solution | None = None,
    why_not: bool = True,
) -> Solution:
    """The best answer to `problem`, with what is proven about it; or the smallest conflict and its ways out.

    `time_limit_s` is wall clock, so an answer cut short by it may differ between machines; `deterministic_limit`
    bounds the work of each question instead. `start_from` is an answer to a similar problem with the same ids, which
    saves work; without `why_not` an infeasible problem is said to be so and no more. Raises InputError when sizes are
    too many to pack exactly, NoPlanInTimeError when time ends with neither answer nor proof.
    """
    start = time.monotonic()
    deadline_s = None if time_limit_s is None else start + time_limit_s
    effort = Effort(seed=seed, deterministic_limit=deterministic_limit, deadline_s=deadline_s)
    instance = prepare(problem)
    unservable = tuple(f"workload.{w.id}" for w in instance.workloads if not instance.ways[w.id])
    if unservable:
        return Solution(status="infeasible", conflict=unservable, wall_s=time.monotonic() - start)
    found = _pooled(instance, effort) or _best(instance, effort, start_from)
    if found is None and not why_not:
        return Solution(status="infeasible", wall_s=time.monotonic() - start)
    if found is None:
        conflict, relaxations = explain(instance, effort)
        return Solution(
            status="infeasible", conflict=conflict, relaxations=relaxations, wall_s=time.monotonic() - start
        )
    solution = found.model_copy(update={"wall_s": time.monotonic() - start})
    wrong = verify(problem, solution)
    assert not wrong, f"the checker disagrees with the solver: {wrong}"
    return solution


def _pooled(i: Instance, effort: Effort) -> Solution | None:
    """The answer where all demand is split at will and the search for it is short; else None."""
    if any(w.mode != "fluid" for w in i.workloads):
        return None
    from planner.solve.pools.solve import least_pools

    found = least_pools(i, effort.has_ended)
    return None if found is None else found.model_copy(update={"rounding": rounding_of(i)})


def rounding_of(i: Instance) -> str:
    """Where rates and demands have no common denominator that 64 bits hold, and what was done about it."""
    rough = [w.id for w in i.workloads if w.mode == "replicas" and not all(_row_is_exact(i, w, p) for p in i.periods)]
    for t, ways in i.ways_on.items():
        fluid = [way for way in ways if way.shares]
        if fluid and not all(fluid_loads(i, t, [way.shares[p] for way in fluid]).is_exact for p in i.periods):
            rough.append(t)
    if not rough:
        return ""
    return f"rounded to the safe side by less than one part in 2**25: {', '.join(rough)}"


def _row_is_exact(i: Instance, w: Workload, p: int) -> bool:
    rates = [way.column.rate or Fraction(0) for way in i.ways[w.id]]
    return at_least(rates, i.problem.demand(w, p) or Fraction(0)).is_exact


def _best(i: Instance, effort: Effort, start_from: Solution | None = None) -> Solution | None:
    """Each objective in turn, the earlier ones held; None where no answer exists.

    As many as fit 64 bits are asked for at once, weighted so that the first always wins: one proof instead of many.
    Where that takes too long, and where demand is split, they are asked one after another.
    """
    m, x = build_model(i)
    if start_from is not None:
        hint_choices(m, x, start_from)
    names = dict.fromkeys((*i.problem.objective, "preference"))
    first, *rest = (level(name, i, x, m) for name in names)
    pending = [first, *(found for found in rest if found.measured.terms)]
    answer: Answer | None = None
    bound: int | None = None
    at_once = True
    while pending:
        if answer is not None:
            pending[0] = replace(pending[0], most=min(pending[0].most, answer.value(pending[0].measured)))
        group = first_that_fit(pending, MAX_WEIGHTED_FLOAT if x.share else MAX_WEIGHTED) if at_once else (pending[0],)
        make_all_small(group, m)
        reached = _asked(m, x, answer, effort, at_once=len(group) > 1)
        if reached is not None and not reached.is_feasible:
            return None
        answer = reached or answer
        if reached is None or not reached.is_proven:
            if reached is not None and pending[0] is first:
                bound = max(bound or 0, bound_of_first(group, reached))
            if len(group) > 1 and not effort.has_ended():
                at_once = False
                continue
            break
        for found in group:
            hold(found, answer_of(answer).value(found.measured), m, exactly=True)
        pending = pending[len(group) :]
    best = answer_of(answer)
    value = best.value(first.measured)
    status = "feasible" if pending else "optimal"
    if not pending:
        bound = value
        if x.takes:
            prefer_first(i, x, m)
            best = _asked(m, x, best, replace(effort, deterministic_limit=TIES_LIMIT, simplifies_little=True)) or best
    elif pending[0] is not first:
        bound = value
    return _solution(i, x, best, status=status, bound=float(bound or 0), value=value)


def answer_of(answer: Answer | None) -> Answer:
    """The answer in hand. Raises NoPlanInTimeError without one."""
    if answer is None:
        raise NoPlanInTimeError("no plan was found within the time limit")
    return answer


def bound_of_first(group: Sequence[Level], reached: Answer) -> int:
    """What is proven about the first of several levels asked for at once, in its own unit."""
    steps = math.ceil(reached.bound) // weights(group)[0]
    return group[0].measured.constant + max(0, steps) * group[0].scale


def _asked(m: CpModel, x: FleetVars, answer: Answer | None, effort: Effort, *, at_once: bool = False) -> Answer | None:
    """The answer to a question, started from an earlier answer to a looser one.

    None where time ends first or, where several levels are asked for `at_once`, where that did not help.
    """
    if answer is not None:
        if effort.has_ended():
            return None
        hint(m, answer)
    try:
        reached = ask_in_rounds(m, effort, LONG_ROUNDS) if at_once and not x.share else ask(m, effort, shares=x.shares)
    except NoPlanInTimeError:
        if answer is None:
            raise
        return None
    assert reached is None or reached.is_feasible or answer is None, "an earlier answer still holds"
    return reached


def _solution(i: Instance, x: FleetVars, answer: Answer, *, status: str, bound: float, value: int) -> Solution:
    gap = 0.0 if value <= bound else (value - bound) / value
    return Solution.model_validate(
        {
            "status": status,
            "objective": {name: max(answer.value(s) for s in limited(name, i, x)) for name in MEASURES},
            "bound": bound,
            "gap": gap,
            "nodes": _nodes(i, x, answer),
            "payments": _payments(i, x, answer),
            "assignments": _assignments(i, x, answer),
            "rounding": rounding_of(i),
            **placed(i, x, answer),
        }
    )


def _nodes(i: Instance, x: FleetVars, answer: Answer) -> dict[str, tuple[int, ...]]:
    counts = {t: tuple(answer.count(x.present[t, p]) for p in i.periods) for t in i.node_types}
    return {t: n for t, n in counts.items() if any(n)}


def _payments(i: Instance, x: FleetVars, answer: Answer) -> tuple[Payment, ...]:
    found: list[Payment] = []

    def pay(kind: PaymentKind, t: str, p: int, nodes: int, price: int, **serves: int) -> None:
        if nodes:
            found.append(Payment(period=p, node=t, kind=kind, nodes=nodes, amount=nodes * price, **serves))

    for t, node in i.node_types.items():
        for c in i.contracts.get(t, ()):
            if node.reserve is not None:
                count = answer.count(x.reserved[t, c])
                pay("reserve", t, c.first, count, node.reserve.cost * c.paid, first=c.first, last=c.last)
        for d in i.deliveries.get(t, ()):
            if node.buy is not None:
                pay("buy", t, d.ordered, answer.count(x.bought[t, d]), node.buy.cost, first=d.first)
        for p in i.periods:
            length = i.problem.length(p)
            if node.cost is not None:
                pay("rent", t, p, answer.count(x.rented[t, p]), node.cost * length)
            if node.opex:
                bought = sum(c * answer.count(v) for c, v in x.delivered(i, t, p))
                pay("opex", t, p, node.owned + bought, node.opex * length)
    return tuple(sorted(found, key=lambda e: (e.period, e.node, e.kind, e.first or 0, e.last or 0)))


def _assignments(i: Instance, x: FleetVars, answer: Answer) -> dict[str, tuple[Assignment, ...]]:
    chosen = {}
    many = i.problem.periods > 1
    for w in i.workloads:
        rows: list[Assignment] = []
        for way in i.ways[w.id]:
            column = way.column.id
            if way.key in x.takes:
                if answer.count(x.takes[way.key]):
                    rows.append(Assignment(column=column, replicas=max(way.replicas)))
                continue
            for p in i.periods:
                period = p if many else None
                if way.shares:
                    gpus = float(way.shares[p]) * answer.values[x.share[*way.key, p].index] / FLUID_GRID
                    rows.append(Assignment(column=column, replicas=gpus, period=period))
                else:
                    count = answer.count(x.copies[*way.key, p])
                    rows.append(Assignment(column=column, replicas=count, period=period))
        chosen[w.id] = tuple(sorted((r for r in rows if r.replicas), key=lambda r: (r.period or 0, r.column)))
    return chosen

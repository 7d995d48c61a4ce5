"""The whole question: least of each objective in turn, proof, packing; or why there is no answer."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction

from ortools.sat.python.cp_model import CpModel

from planner.errors import NoPlanInTimeError
from planner.solve.certificate import fluid_bound
from planner.solve.conflict import explain
from planner.solve.instance import Instance, prepare
from planner.solve.measures import PER_NODE, limited
from planner.solve.objective import hold, make_small, prefer_first, scale_of
from planner.solve.pack import pack
from planner.solve.problem import Problem, Workload
from planner.solve.rules import fluid_loads
from planner.solve.scale import FLUID_GRID, at_least
from planner.solve.search import Answer, Effort, ask, build_model, hint
from planner.solve.solution import Assignment, PackedNodes, Payment, PaymentKind, Solution
from planner.solve.variables import FleetVars
from planner.solve.verify import verify

TIES_LIMIT = 1.0
"""Deterministic effort for settling ties that no objective settles; they are settled the same way each time."""
MEASURES = ("cost", *PER_NODE, "capex", "preference")


def solve(
    problem: Problem, *, seed: int = 0, time_limit_s: float | None = None, deterministic_limit: float | None = None
) -> Solution:
    """The best answer to `problem`, with what is proven about it; or the smallest conflict and its ways out.

    `time_limit_s` is wall clock, so an answer cut short by it may differ between machines;
    `deterministic_limit` bounds the work of each question instead. Raises InputError when sizes are too many
    to pack exactly, NoPlanInTimeError when time ends with neither answer nor proof.
    """
    start = time.monotonic()
    deadline_s = None if time_limit_s is None else start + time_limit_s
    effort = Effort(seed=seed, deterministic_limit=deterministic_limit, deadline_s=deadline_s)
    instance = prepare(problem)
    unservable = tuple(f"workload.{w.id}" for w in instance.workloads if not instance.ways[w.id])
    if unservable:
        return Solution(status="infeasible", conflict=unservable, wall_s=time.monotonic() - start)
    found = _best(instance, effort)
    if found is None:
        refuse_coarse_verdict(instance)
        conflict, relaxations = explain(instance, effort)
        return Solution(
            status="infeasible", conflict=conflict, relaxations=relaxations, wall_s=time.monotonic() - start
        )
    solution = found.model_copy(update={"wall_s": time.monotonic() - start})
    wrong = verify(problem, solution)
    assert not wrong, f"the checker disagrees with the solver: {wrong}"
    return solution


def refuse_coarse_verdict(i: Instance) -> None:
    """Raise NoPlanInTimeError where only the steps of mode `fluid` stand in the way: finer splits may exist."""
    if not any(w.mode == "fluid" for w in i.workloads):
        return
    if fluid_bound(i, i.problem.objective[0]) is not None:
        raise NoPlanInTimeError(
            f"no plan exists with demand split in steps of 1/{FLUID_GRID}, but finer splits may meet the limits; "
            "widen them a little"
        )


def rounding_of(i: Instance) -> str:
    """Where rates and demands have no common denominator that 64 bits hold, and what was done about it."""
    rough = [w.id for w in i.workloads if w.mode == "replicas" and not all(_row_is_exact(i, w, p) for p in i.periods)]
    for t, ways in i.ways_on.items():
        fluid = [way for way in ways if way.shares]
        if fluid and not all(fluid_loads(i, t, [way.shares[p] for way in fluid]).is_exact for p in i.periods):
            rough.append(t)
    if not rough:
        return ""
    return f"rounded to the safe side by less than one part in 2**30: {', '.join(rough)}"


def _row_is_exact(i: Instance, w: Workload, p: int) -> bool:
    rates = [way.column.rate or Fraction(0) for way in i.ways[w.id]]
    return at_least(rates, i.problem.demand(w, p) or Fraction(0)).is_exact


def _best(i: Instance, effort: Effort) -> Solution | None:
    """Each objective in turn, the earlier ones held; None where no answer exists."""
    m, x = build_model(i)
    status, bound, first_value = "optimal", 0.0, 0
    answer: Answer | None = None
    names = [*i.problem.objective]
    if "preference" not in names:
        names.append("preference")
    for n, name in enumerate(names):
        measured = make_small(name, i, x, m)
        if not measured.terms and answer is not None:
            continue
        reached = ask(m, effort) if answer is None else improved(m, answer, effort)
        if reached is None:
            status = "feasible"
            break
        if not reached.is_feasible:
            return None
        answer = reached
        if n == 0:
            first_value = answer.value(measured)
            bound = float(first_value)
            if not answer.is_proven:
                bound = measured.constant + answer.bound * scale_of(measured)
        if not answer.is_proven:
            status = "feasible"
            break
        hold(name, measured, answer.value(measured), m)
    assert answer is not None, "there is at least one objective"
    if status == "optimal":
        prefer_first(i, x, m)
        answer = improved(m, answer, replace(effort, deterministic_limit=TIES_LIMIT)) or answer
    if status == "optimal" and x.share:
        proven = fluid_bound(i, names[0])
        assert proven is not None, "what exists in steps exists without them"
        bound = min(bound, proven)
        status = "optimal" if bound >= first_value else "feasible"
    return _solution(i, x, answer, status=status, bound=bound, value=first_value)


def improved(m: CpModel, answer: Answer, effort: Effort) -> Answer | None:
    """The answer to a further question that an earlier answer is feasible for; None where time ends first."""
    if effort.deadline_s is not None and time.monotonic() >= effort.deadline_s:
        return None
    hint(m, answer)
    try:
        reached = ask(m, effort)
    except NoPlanInTimeError:
        return None
    assert reached.is_feasible, "an earlier answer still holds"
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
            "packing": tuple(packed for t, p in i.slots() for packed in _packed(t, p, i, x, answer)),
        }
    )


def _nodes(i: Instance, x: FleetVars, answer: Answer) -> dict[str, tuple[int, ...]]:
    counts = {t: tuple(answer.values[x.present[t, p].index] for p in i.periods) for t in i.node_types}
    return {t: n for t, n in counts.items() if any(n)}


def _payments(i: Instance, x: FleetVars, answer: Answer) -> tuple[Payment, ...]:
    found: list[Payment] = []

    def pay(kind: PaymentKind, t: str, p: int, nodes: int, price: int) -> None:
        if nodes:
            found.append(Payment(period=p, node=t, kind=kind, nodes=nodes, amount=nodes * price))

    for t, p in i.slots():
        node = i.node_types[t]
        if node.cost is not None:
            pay("rent", t, p, answer.values[x.rented[t, p].index], node.cost)
        if node.reserve is not None:
            running = sum(c * answer.values[v.index] for c, v in x.under_term(t, p, node.reserve.term))
            pay("reserve", t, p, running, node.reserve.cost)
        bought = 0
        if node.buy is not None:
            pay("buy", t, p, answer.values[x.ordered[t, p].index], node.buy.cost)
            bought = sum(c * answer.values[v.index] for c, v in x.arrived(t, p, node.buy.lead))
        if node.opex:
            pay("opex", t, p, node.owned + bought, node.opex)
    return tuple(sorted(found, key=lambda e: (e.period, e.node, e.kind)))


def _assignments(i: Instance, x: FleetVars, answer: Answer) -> dict[str, tuple[Assignment, ...]]:
    chosen = {}
    many = i.problem.periods > 1
    for w in i.workloads:
        rows: list[Assignment] = []
        for way in i.ways[w.id]:
            column = way.column.id
            if way.key in x.takes:
                if answer.values[x.takes[way.key].index]:
                    rows.append(Assignment(column=column, replicas=max(way.replicas)))
                continue
            for p in i.periods:
                period = p if many else None
                if way.shares:
                    gpus = way.shares[p] * answer.values[x.share[*way.key, p].index] / FLUID_GRID
                    rows.append(Assignment(column=column, replicas=float(gpus), period=period))
                else:
                    count = answer.values[x.copies[*way.key, p].index]
                    rows.append(Assignment(column=column, replicas=count, period=period))
        chosen[w.id] = tuple(sorted((r for r in rows if r.replicas), key=lambda r: (r.period or 0, r.column)))
    return chosen


def _packed(t: str, p: int, i: Instance, x: FleetVars, answer: Answer) -> tuple[PackedNodes, ...]:
    pieces = {way.key: sum(c * answer.values[v.index] for c, v in x.pieces(way, p)) for way in i.ways_on[t]}
    filled = [answer.values[x.filled[t, p, k].index] for k in range(len(i.packing[t].patterns))]
    return pack(t, p, i, pieces, filled)

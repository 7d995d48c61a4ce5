"""Solvers, asked so that the same model always gives the same answer.

CP-SAT goes first, for it counts exactly and most fleets are easy once needless ways are gone. What it does not
settle soon goes to a mixed-integer solver, whose answer is recounted; then CP-SAT starts again from there. The
order depends on work done, never on the clock, so that a machine's speed does not choose the answer.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from planner.errors import InputError, NoPlanInTimeError
from planner.solve.cp import FEASIBLE, INFEASIBLE, MODEL_INVALID, OPTIMAL, CpModel, CpSolver, IntVar
from planner.solve.instance import Instance
from planner.solve.mip import MipAnswer, holds, least
from planner.solve.rules import MECHANICS, fleet_stays_within_limits, nodes_stay_within_stock, requirements
from planner.solve.solution import Solution
from planner.solve.variables import FleetVars, Sum

ROUNDS = ((1, 0.3), (2, 1.5))
"""Tries at once (each in its own way, one a core) and the deterministic effort (about seconds) of each. How long
CP-SAT takes hangs on luck: two short tries beat a long one."""
MANY_CUTS = 20_000
LONG_ROUNDS = (*ROUNDS, (2, 2.0))
"""Before several objectives asked for at once are asked for one after another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard to try. One worker and a fixed seed: with more, equal answers may differ from run to run."""

    seed: int = 0
    deterministic_limit: float | None = None
    """Work allowed per question, in the solver's own deterministic units (about seconds)."""
    with_all_rows: bool = False
    """Whether the linear relaxation gets every row and many cuts from the start: slower steps, fewer of them."""
    simplifies_little: bool = False
    """One pass over the model before the search and no probing: an easy question is answered in a third of the time."""
    deadline_s: float | None = None
    """Wall clock (`time.monotonic`) after which no further work starts."""

    def seconds_left(self) -> float | None:
        """Wall clock until the deadline; None = no deadline."""
        return None if self.deadline_s is None else max(0.01, self.deadline_s - time.monotonic())

    def has_ended(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline_s is not None and time.monotonic() >= self.deadline_s

    def solver(self) -> CpSolver:
        """A solver set up this way."""
        s = CpSolver()
        s.parameters.num_workers = 1
        s.parameters.linearization_level = 2
        s.parameters.random_seed = self.seed
        if self.with_all_rows:
            s.parameters.add_lp_constraints_lazily = False
            s.parameters.max_num_cuts = MANY_CUTS
        if self.simplifies_little:
            s.parameters.max_presolve_iterations = 1
            s.parameters.cp_model_probing_level = 0
            s.parameters.symmetry_level = 0
        if self.deterministic_limit is not None:
            s.parameters.max_deterministic_time = self.deterministic_limit
        seconds_left = self.seconds_left()
        if seconds_left is not None:
            s.parameters.max_time_in_seconds = seconds_left
        return s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one question to the solver brought."""

    is_feasible: bool
    is_proven: bool
    """Optimal, or proven to have no answer."""
    values: tuple[int | float, ...]
    """By index of the variable; empty without an answer. Whole but for the shares of mode `fluid`."""
    bound: float
    """In the unit of the model's objective."""

    def value(self, s: Sum) -> int:
        """A sum at these values."""
        return s.constant + sum(c * self.count(v) for c, v in s.terms)

    def count(self, v: IntVar) -> int:
        """A whole decision."""
        value = self.values[v.index]
        assert isinstance(value, int), "only shares are fractions"
        return value


def build_model(i: Instance, *, kept: Collection[str] | None = None) -> tuple[CpModel, FleetVars]:
    """The model with the requirements named in `kept` (all of them by default)."""
    m = CpModel()
    x = FleetVars.create(i, m)
    for rule in MECHANICS:
        rule(i, x, m)
    names = frozenset(requirements(i) if kept is None else kept)
    nodes_stay_within_stock(i, x, m, kept=names)
    fleet_stays_within_limits(i, x, m, kept=names)
    return m, x


def ask(m: CpModel, effort: Effort, *, shares: Collection[int] = ()) -> Answer:
    """The least of a model's objective; `shares` are the indices of variables that stand for fractions.

    Values are read only when a solver says it has an answer. Raises NoPlanInTimeError when the effort ended without
    an answer and without a proof.
    """
    if shares:
        return _ask_for_shares(m, effort, shares)
    quick = ask_in_rounds(m, effort, ROUNDS)
    if effort.deterministic_limit is not None or (quick is not None and quick.is_proven) or effort.has_ended():
        return _given(quick)
    second = least(m, time_limit_s=effort.seconds_left())
    found = _recounted(m, second) if second.values else None
    if found is not None and found.is_proven:
        return found
    best = _better(m, quick, found)
    if best is not None and best.is_proven:
        return best
    if best is not None:
        hint(m, best)
    if effort.has_ended():
        return _given(best)
    return _given(_better(m, best, _ask_exactly(m, effort.solver())))


def ask_in_rounds(m: CpModel, effort: Effort, rounds: Sequence[tuple[int, float]]) -> Answer | None:
    """CP-SAT's answer after a few tries of growing effort, each from scratch: started from a good answer it spends
    its effort on bettering that instead of on the proof.

    Which answer is given hangs on the order of the tries, not on which ends first. None where there is none yet.
    """
    if effort.deterministic_limit is not None:
        return _ask_exactly(m, effort.solver())
    best: Answer | None = None
    for tries, limit in rounds:
        if effort.has_ended():
            break
        efforts = [
            replace(
                effort,
                seed=effort.seed + n,
                deterministic_limit=limit,
                with_all_rows=n % 2 == 1,
                simplifies_little=tries == 1,
            )
            for n in range(tries)
        ]
        for answer in _side_by_side(m, [e.solver() for e in efforts]):
            best = _better(m, best, answer)
        if best is not None and best.is_proven:
            break
    return best


def _side_by_side(m: CpModel, solvers: Sequence[CpSolver]) -> list[Answer | None]:
    """The answers up to the first, in order, that is proven; what comes after it is stopped and left out."""
    if len(solvers) == 1:
        return [_ask_exactly(m, solvers[0])]
    found: list[Answer | None] = []
    with ThreadPoolExecutor(len(solvers)) as pool:
        running = [pool.submit(_ask_exactly, m, s) for s in solvers]
        for n, future in enumerate(running):
            answer = future.result()
            found.append(answer)
            if answer is not None and answer.is_proven:
                for later, other in zip(running[n + 1 :], solvers[n + 1 :], strict=True):
                    later.cancel()
                    other.stop_search()
                break
    return found


def _ask_for_shares(m: CpModel, effort: Effort, shares: Collection[int]) -> Answer:
    """Fractions are for the mixed-integer solver; CP-SAT, which knows steps only, helps where that fails."""
    found = least(m, continuous=shares, time_limit_s=effort.seconds_left())
    if found.is_infeasible:
        return Answer(is_feasible=False, is_proven=True, values=(), bound=0.0)
    if found.values and holds(m, found.values, continuous=shares):
        return _proven_by(m, found)
    stepped = _given(_ask_exactly(m, effort.solver()))
    if not stepped.is_feasible:
        raise NoPlanInTimeError("no plan was found with demand split in steps, but finer splits may exist")
    bound = found.bound if found.bound is not None else 0.0
    return replace(stepped, is_proven=_objective(m, stepped.values) <= bound, bound=bound)


def _ask_exactly(m: CpModel, solver: CpSolver) -> Answer | None:
    """CP-SAT's answer or proof; None where it ends without either.

    Raises InputError where sums of the model's figures do not fit 64 bits.
    """
    status = solver.solve(m)
    if status == MODEL_INVALID:
        raise InputError(
            "money, power, memory or counts are too large together: their sums do not fit 64 bits; "
            "give them in coarser units"
        )
    if status == INFEASIBLE:
        return Answer(is_feasible=False, is_proven=True, values=(), bound=0.0)
    if status in (OPTIMAL, FEASIBLE):
        return Answer(
            is_feasible=True,
            is_proven=status == OPTIMAL,
            values=tuple(solver.response_proto.solution),
            bound=solver.best_objective_bound,
        )
    return None


def _recounted(m: CpModel, found: MipAnswer) -> Answer | None:
    """A mixed-integer answer where it meets every constraint in whole numbers."""
    return _proven_by(m, found) if holds(m, found.values) else None


def _proven_by(m: CpModel, found: MipAnswer) -> Answer:
    value = _objective(m, found.values)
    bound = min(found.bound, value) if found.bound is not None else 0.0
    return Answer(is_feasible=True, is_proven=value <= bound, values=found.values, bound=float(bound))


def _better(m: CpModel, one: Answer | None, other: Answer | None) -> Answer | None:
    """Of two answers the proven, else the smaller, else the first, with the better bound of the two."""
    if one is None or other is None:
        return other if one is None else one
    if one.is_proven or other.is_proven:
        return one if one.is_proven else other
    bound = max(one.bound, other.bound)
    best = other if _objective(m, other.values) < _objective(m, one.values) else one
    return replace(best, bound=bound, is_proven=_objective(m, best.values) <= bound)


def _objective(m: CpModel, values: tuple[int | float, ...]) -> int:
    """The model's objective; 0 where it has none. Shares are never part of it."""
    goal = m.proto.objective
    return sum(int(k) * int(values[n]) for n, k in zip(goal.vars, goal.coeffs, strict=True))


def _given(answer: Answer | None) -> Answer:
    if answer is None:
        raise NoPlanInTimeError("no plan was found within the time limit")
    return answer


def hint(m: CpModel, answer: Answer) -> None:
    """Start the next question from the whole of an earlier answer."""
    m.proto.clear_solution_hint()
    m.proto.solution_hint.vars.extend(range(len(answer.values)))
    m.proto.solution_hint.values.extend(round(v) for v in answer.values)


def hint_choices(m: CpModel, x: FleetVars, s: Solution) -> None:
    """Start from what an answer to a similar problem takes; what it does not have is left to the solver."""
    taken = {(w, a.column): a for w, found in s.assignments.items() for a in found}
    for key, v in x.takes.items():
        m.add_hint(v, key in taken)
    for (t, p), v in x.present.items():
        counts = s.nodes.get(t, ())
        if p < len(counts):
            m.add_hint(v, counts[p])

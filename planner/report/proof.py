"""What the solver established, in plain words and in figures."""

from __future__ import annotations

from collections.abc import Mapping

from planner.plan.types import Moves, Plan, SolverFacts
from planner.report.bill import power_text
from planner.report.currency import currency, in_currency
from planner.report.language import _, ngettext
from planner.report.numbers import figure, fixed, floor_text, percent, shown, whole
from planner.report.phrases import foreign
from planner.report.types import Pair
from planner.report.words import OBJECTIVES, ObjectiveWords, listed, spoken
from planner.report.workloads import UNKNOWN

OBJECTIVE_KEYS: Mapping[str, str] = {
    "usd_per_hour": "cost",
    "usd_horizon": "cost",
    "power_kw": "power",
    "kg_co2_per_month": "carbon",
}
"""Keys of `totals` under which an objective may also be named."""
MICRO_DIGITS = 6
"""The solver counts in micro-units, so digits beyond these are noise of floating point."""


def objective_key(solver: SolverFacts) -> str:
    """`cost`, `power`, `gpus`, `carbon`, or a name that this report does not know."""
    return OBJECTIVE_KEYS.get(solver.objective_name, solver.objective_name)


def objective_words(solver: SolverFacts) -> ObjectiveWords:
    """How the objective is called; one that is not known keeps its own name."""
    key = objective_key(solver)
    if key not in OBJECTIVES:
        return ObjectiveWords(_("the best plan"), shown(spoken(key)))
    words = OBJECTIVES[key]
    return ObjectiveWords(_(words.sought), _(words.unit).format(currency=currency()))


def objective_value(value: float, solver: SolverFacts) -> float:
    """A value of the objective in the unit it is shown in."""
    return in_currency(value) if objective_key(solver) == "cost" else value


def bound_text(value: float) -> str:
    """A lower bound, rounded down with as few digits as keep it close: nothing below it was ever possible."""
    steady = round(value, MICRO_DIGITS)
    for digits in range(2, MICRO_DIGITS):
        if floor_text(steady, digits) == fixed(steady, digits):
            return floor_text(steady, digits)
    return floor_text(steady, MICRO_DIGITS)


def _bound_beside(s: SolverFacts) -> str:
    """The bound as it stands beside the objective: equal text only for equal values."""
    if s.best_bound is None:
        return UNKNOWN
    if s.objective is not None and round(s.objective, MICRO_DIGITS) == round(s.best_bound, MICRO_DIGITS):
        return figure(objective_value(s.objective, s), 6)
    return bound_text(objective_value(s.best_bound, s))


def proof_sentence(plan: Plan) -> str:
    """What the solver established, in plain words."""
    return " ".join(text for text in (_proof_of_value(plan), moves_sentence(plan)) if text)


def moves_sentence(plan: Plan) -> str:
    """What changes against the plan in use; empty where none was given."""
    m = plan.moves
    if m is None:
        return ""
    sentences = [_moved(m)]
    if m.count_without > m.count:
        text = ngettext(
            "Without regard to it, {n} replica would be set up anew.",
            "Without regard to it, {n} replicas would be set up anew.",
            m.count_without,
        )
        sentences.append(text.format(n=whole(m.count_without)))
    if not m.is_fewest:
        sentences.append(_("Fewer may be possible."))
    return " ".join(sentences)


def _moved(m: Moves) -> str:
    """How many replicas move."""
    old = shown(m.from_plan, longest=80)
    if not m.count:
        return _("Nothing that runs after {plan} has to move.").format(plan=old)
    moved = listed(
        [
            _("{n} of {workload}").format(n=whole(w.replicas_moved), workload=shown(w.workload))
            for w in m.workloads
            if w.replicas_moved
        ]
    )
    text = ngettext(
        "Against {plan}, {n} replica is set up anew ({moved}).",
        "Against {plan}, {n} replicas are set up anew ({moved}).",
        m.count,
    )
    return text.format(plan=old, n=whole(m.count), moved=moved)


def _proof_of_value(plan: Plan) -> str:
    solver, words = plan.solver, objective_words(plan.solver)
    if plan.status == "infeasible":
        return _("Proven infeasible: no choice among the configurations considered meets all requirements at once.")
    if plan.status == "optimal" and solver.objective is not None and is_mixed(plan):
        return _(
            "Proven optimal: among the configurations considered no plan under {value} {unit} meets these targets at "
            "all times, whatever it is mixed of."
        ).format(value=bound_text(objective_value(solver.objective, solver)), unit=words.unit)
    if plan.status == "optimal" and solver.objective is not None:
        return _(
            "Proven optimal: no plan under {value} {unit} that runs each workload in one way, on one kind of node, "
            "meets these targets."
        ).format(value=bound_text(objective_value(solver.objective, solver)), unit=words.unit)
    if solver.best_bound is None or solver.gap is None:
        return _("Not proven optimal: the search stopped at its time limit and no bound is known.")
    bound, gap = bound_text(objective_value(solver.best_bound, solver)), percent(solver.gap, 1)
    if plan.moves is not None and plan.moves.extra_share:
        return _(
            "Kept near the plan in use: {gap} of its value is above {bound} {unit}, under which no plan exists; the "
            "plan may stand {extra} above the least value found."
        ).format(gap=gap, bound=bound, unit=words.unit, extra=percent(plan.moves.extra_share, 1))
    return _(
        "Not proven optimal: the search stopped at its time limit. No plan under {bound} {unit} exists, so this one is "
        "at most {gap} of its own value above the best."
    ).format(gap=gap, bound=bound, unit=words.unit)


def is_mixed(plan: Plan) -> bool:
    """Workloads may run in several ways at once."""
    return bool(plan.periods) or any(len(w.placements) > 1 for w in plan.workloads)


def proof_facts(plan: Plan) -> tuple[Pair, ...]:
    """The figures behind the proof."""
    s, words = plan.solver, objective_words(plan.solver)
    value = "" if s.objective is None else figure(objective_value(s.objective, s), 6)
    kept = _("{n}; the others are no better in any way than one that was kept")
    rows = [
        (_("Sought"), words.sought),
        (_("Objective"), _("{value} {unit}").format(value=value, unit=words.unit) if value else ""),
        (
            _("Lower bound"),
            _("{value} {unit}").format(value=_bound_beside(s), unit=words.unit) if s.best_bound is not None else "",
        ),
        (_("Gap"), percent(s.gap, 1) if s.gap is not None else ""),
        (_("Configurations evaluated"), whole(s.candidates)),
        (_("Handed to the optimiser"), kept.format(n=whole(s.kept))),
        (_("Rounding"), foreign(s.rounding, longest=400)),
        (_("Power"), power_text(plan.totals) if plan.totals else ""),
    ]
    return tuple(Pair(label=label, value=value) for label, value in rows if value)

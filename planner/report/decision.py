"""The decision page: one sentence, the key figures, what is asked of the reader, what was proven."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.plan.types import Plan, SolverFacts
from planner.report.bill import hourly_text, month_text, power_text, purchase_phrase
from planner.report.numbers import figure, fixed, floor_text, percent, shown, whole
from planner.report.types import Figure, Pair, WorkloadView
from planner.report.words import LOW_CONFIDENCE, OBJECTIVES, ObjectiveWords, spoken
from planner.report.workloads import UNKNOWN

MOST_LINES_NAMED = 3
OBJECTIVE_KEYS: Mapping[str, str] = {
    "usd_per_hour": "cost",
    "usd_horizon": "cost",
    "power_kw": "power",
    "kg_co2_per_month": "carbon",
}
"""Keys of `totals` under which an objective may also be named."""
STATUS_WORDS: Mapping[str, str] = {
    "optimal": "Proven optimal",
    "feasible": "Best found in the time allowed",
    "infeasible": "No plan exists",
}
MICRO_DIGITS = 6
"""The solver counts in micro-units, so digits beyond these are noise of floating point."""


def decision_sentence(plan: Plan, gpu_names: Mapping[str, str], workloads: Sequence[WorkloadView]) -> str:
    """What to do, what it costs, and what that achieves."""
    if plan.status == "infeasible":
        return infeasible_sentence(plan)
    acts = [
        _act(verb, [purchase_phrase(p, gpu_names) for p in plan.purchases if p.procurement in kinds])
        for verb, kinds in (
            ("rent", ("on_demand", "reserved_1y", "reserved_3y", "spot")),
            ("buy", ("buy",)),
            ("use the owned", ("owned",)),
        )
    ]
    what = " and ".join(a for a in acts if a) or "run nothing"
    return f"{what[0].upper()}{what[1:]}{_price_phrase(plan)}. {_result_phrase(workloads)}"


def _act(verb: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    hidden = len(items) - MOST_LINES_NAMED
    more = [f"{hidden} more {'line' if hidden == 1 else 'lines'} of the bill of materials"] if hidden > 0 else []
    return f"{verb} {listed([*items[:MOST_LINES_NAMED], *more])}"


def listed(items: Sequence[str]) -> str:
    """Items as a phrase.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _price_phrase(plan: Plan) -> str:
    hourly = hourly_text(plan)
    if hourly is None or plan.totals is None:
        return ", at a price that is not known in full"
    return f" for {hourly} USD/h, {month_text(plan.totals.usd_per_month)} USD a month"


def _result_phrase(workloads: Sequence[WorkloadView]) -> str:
    missed = [w.name for w in workloads if w.status == "missed"]
    if missed:
        return f"Targets are missed by {listed(missed)}."
    tight = [w.name for w in workloads if w.status == "tight"]
    whose = "the workload" if len(workloads) == 1 else f"the {len(workloads)} workloads"
    if not any(w.targets for w in workloads):
        return f"This runs {whose} as asked; no targets were set."
    met = f"Every target of {whose} is met"
    return met + (f"; for {listed(tight)} the uncertainty of the prediction reaches past a target." if tight else ".")


def infeasible_sentence(plan: Plan) -> str:
    """Why there is no plan, and the smallest change that makes one."""
    trouble = plan.infeasible
    if trouble is None:
        return "No plan meets these requirements."
    if trouble.unplaceable:
        names = ", ".join(shown(name) for name in trouble.unplaceable)
        return f"No plan meets these requirements: no GPU that is allowed can run {names} as asked."
    limits = " and ".join(shown(c.limit) for c in trouble.conflict)
    clash = "cannot be kept" if len(trouble.conflict) == 1 else "cannot hold together"
    sentence = f"No plan meets these requirements: {limits or 'they'} {clash}."
    if trouble.relaxations:
        first = trouble.relaxations[0]
        lead = "These changes are enough together" if first.together else "One change is enough, for example"
        texts = [r.text for r in trouble.relaxations if r.together] if first.together else [first.text]
        sentence += f" {lead}: {'; '.join(shown(text, longest=300) for text in texts)}"
    return sentence if sentence.endswith(".") else f"{sentence}."


def status_word(plan: Plan) -> str:
    """The outcome in a few words."""
    if plan.moves is not None and plan.moves.extra_share and plan.status == "feasible":
        return "Near the plan in use"
    return STATUS_WORDS[plan.status]


def key_figures(plan: Plan, workloads: Sequence[WorkloadView]) -> tuple[Figure, ...]:
    """Four to seven figures that decide; nothing for an infeasible plan."""
    t = plan.totals
    if t is None:
        return ()
    months = _horizon_months(plan.inputs.spec)
    figures = [
        Figure(label="GPUs", value=whole(t.gpus), note=f"in {whole(t.nodes)} {'node' if t.nodes == 1 else 'nodes'}"),
        Figure(label="Cost per hour", value=hourly_text(plan) or UNKNOWN, unit="USD"),
        Figure(label="Cost per month", value=month_text(t.usd_per_month), unit="USD", note="730 hours"),
    ]
    if t.usd_horizon is not None:
        note = f"{months} months" if months else "over the horizon"
        figures.append(Figure(label="Cost in all", value=month_text(t.usd_horizon), unit="USD", note=note))
    if t.capex_usd:
        figures.append(Figure(label="To buy", value=month_text(t.capex_usd), unit="USD", note="once"))
    figures.append(
        Figure(label="Power", value=figure(t.power_kw), unit="kW", note=f"{figure(t.it_power_kw)} kW without cooling")
    )
    tightest = _tightest(plan)
    if tightest is not None:
        figures.append(tightest)
    if t.kg_co2_per_month is not None:
        figures.append(Figure(label="CO2 per month", value=figure(t.kg_co2_per_month), unit="kg"))
    return tuple(figures)


def _horizon_months(spec: Mapping[str, Any]) -> int | None:
    horizon = spec.get("horizon")
    months = horizon.get("months") if isinstance(horizon, Mapping) else None
    return months if isinstance(months, int) else None


def _tightest(plan: Plan) -> Figure | None:
    """The smallest headroom of any workload."""
    rooms = [(share, key, w.name) for w in plan.workloads for key, share in w.headroom.items()]
    if not rooms:
        return None
    share, key, name = min(rooms)
    return Figure(label="Smallest headroom", value=percent(share), note=f"{spoken(key)}, {shown(name, longest=40)}")


def asked_of_reader(plan: Plan) -> str:
    """The decision that the report asks for."""
    if plan.status == "infeasible":
        return "Choose which requirement to change, and by how much; the smallest changes are listed below."
    kinds = {p.procurement for p in plan.purchases}
    if kinds <= {"owned"}:
        return "Nothing has to be ordered: what is owned is enough."
    wanted = []
    if plan.totals is not None and plan.totals.capex_usd:
        wanted.append(f"to spend {month_text(plan.totals.capex_usd)} USD once")
    if kinds - {"owned", "buy"}:
        reserved = [k for k in ("reserved_1y", "reserved_3y") if k in kinds]
        bound = ", with reservations that bind for the term shown," if reserved else ""
        wanted.append(f"to rent the nodes of the bill of materials{bound} from the providers named there")
    return f"Approval {' and '.join(wanted)}." if wanted else "Approval of the bill of materials."


def confidence_notes(plan: Plan, workloads: Sequence[WorkloadView]) -> tuple[str, ...]:
    """How far the figures can be trusted."""
    notes = []
    tight = [(w.name, t.label) for w in workloads for t in w.targets if t.state == "tight"]
    if tight:
        which = "; ".join(f"{label.casefold()} of {name}" for name, label in tight[:6])
        notes.append(
            f"{whole(len(tight))} {'target is' if len(tight) == 1 else 'targets are'} met by the expected value while "
            f"the 90 % interval reaches past: {which}{' …' if len(tight) > 6 else ''}."
        )
    dates = sorted(p.price_as_of for p in plan.purchases if p.price_as_of)
    if dates:
        span = shown(dates[0]) if dates[0] == dates[-1] else f"{shown(dates[0])} to {shown(dates[-1])}"
        notes.append(f"Prices are of {span}; confirm them with a quote before ordering.")
    weak = sum(f.confidence.casefold() in LOW_CONFIDENCE for f in (*plan.inputs.facts, *plan.inputs.assumptions))
    if weak:
        notes.append(f"{whole(weak)} of the facts used {'is' if weak == 1 else 'are'} of low confidence and marked so.")
    return tuple(notes)


def objective_words(solver: SolverFacts) -> ObjectiveWords:
    """How the objective is called; one that is not known keeps its own name."""
    key = OBJECTIVE_KEYS.get(solver.objective_name, solver.objective_name)
    return OBJECTIVES.get(key, ObjectiveWords("best", shown(spoken(key))))


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
        return figure(s.objective, 6)
    return bound_text(s.best_bound)


def proof_sentence(plan: Plan) -> str:
    """What the solver established, in plain words."""
    return " ".join(text for text in (_proof_of_value(plan), moves_sentence(plan)) if text)


def moves_sentence(plan: Plan) -> str:
    """What changes against the plan in use; empty where none was given."""
    m = plan.moves
    if m is None:
        return ""
    old = shown(m.from_plan, longest=80)
    if not m.count:
        text = f"Nothing that runs after {old} has to move"
    else:
        moved = listed([f"{whole(w.replicas_moved)} of {shown(w.workload)}" for w in m.workloads if w.replicas_moved])
        number = "1 replica is" if m.count == 1 else f"{whole(m.count)} replicas are"
        text = f"Against {old}, {number} set up anew ({moved})"
    if m.count_without > m.count:
        text += f"; without regard to it, {whole(m.count_without)} would be"
    return f"{text}{'' if m.is_fewest else '; fewer may be possible'}."


def _proof_of_value(plan: Plan) -> str:
    solver, words = plan.solver, objective_words(plan.solver)
    if plan.status == "infeasible":
        return "Proven infeasible: no choice among the configurations considered meets all requirements at once."
    if plan.status == "optimal" and solver.objective is not None:
        value = bound_text(solver.objective)
        return (
            f"Proven optimal: no plan under {value} {words.unit} that runs each workload in one way, "
            "on one kind of node, meets these targets."
        )
    if plan.moves is not None and plan.moves.extra_share and solver.best_bound is not None and solver.gap is not None:
        return (
            f"Kept near the plan in use: {percent(solver.gap, 1)} of its value is above "
            f"{bound_text(solver.best_bound)} {words.unit}, under which no plan exists; the plan may stand "
            f"{percent(plan.moves.extra_share, 1)} above the least value found."
        )
    if solver.best_bound is not None and solver.gap is not None:
        return (
            f"Not proven optimal: the search stopped at its time limit. No plan under {bound_text(solver.best_bound)} "
            f"{words.unit} exists, so this one is at most {percent(solver.gap, 1)} of its own value above the best."
        )
    return "Not proven optimal: the search stopped at its time limit and no bound is known."


def proof_facts(plan: Plan) -> tuple[Pair, ...]:
    """The figures behind the proof."""
    s, words = plan.solver, objective_words(plan.solver)
    rows = [
        ("Sought", f"the {words.adjective} plan"),
        ("Objective", f"{figure(s.objective, 6)} {words.unit}" if s.objective is not None else ""),
        ("Lower bound", f"{_bound_beside(s)} {words.unit}" if s.best_bound is not None else ""),
        ("Gap", percent(s.gap, 1) if s.gap is not None else ""),
        ("Configurations evaluated", whole(s.candidates)),
        ("Handed to the optimiser", f"{whole(s.kept)}; the others are no better in any way than one that was kept"),
        ("Rounding", shown(s.rounding, longest=400)),
        ("Power", power_text(plan.totals) if plan.totals else ""),
    ]
    return tuple(Pair(label=label, value=value) for label, value in rows if value)

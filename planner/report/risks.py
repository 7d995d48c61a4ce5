"""What may turn out otherwise: read off the plan, each with what to do about it and who has to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from planner.plan.types import Plan, PurchaseLine
from planner.report.dates import date_text
from planner.report.growth import room_percent
from planner.report.language import _, marked, ngettext
from planner.report.numbers import percent, shown, whole
from planner.report.sections import RiskRow
from planner.report.types import WorkloadView
from planner.report.whatif import next_order
from planner.report.words import CONFIDENCE, LOW_CONFIDENCE, called, comma_separated

LEVELS = ("high", "medium", "low")
MOST_NAMED = 4
LITTLE_MEMORY = 0.02
"""Share of device memory left beyond the headroom below which a small mistake of the estimate matters."""
CLOSE_SHARE = 0.05
"""A price that rises by less than this and changes the choice makes it a close one."""
LITTLE_GROWTH = 1.2
"""Times today's demand below which the next order is near."""
ENGINEERING = marked("Engineering")
PROCUREMENT = marked("Procurement")
OPERATIONS = marked("Operations")
FACILITIES = marked("Facilities")
OWNERS = {
    "offer": PROCUREMENT,
    "purchase": PROCUREMENT,
    "energy": FACILITIES,
}
"""Who answers for a fact, by its kind; all others are Engineering's."""


def owner_of(kind: str) -> str:
    """Who answers for a fact of a kind."""
    return _(OWNERS.get(kind, ENGINEERING))


def risk_rows(plan: Plan, workloads: Sequence[WorkloadView]) -> tuple[RiskRow, ...]:
    """The register, gravest first; empty for an infeasible plan."""
    if plan.totals is None:
        return ()
    found = [*_of_speed(plan, workloads), *_of_prices(plan), *_of_supply(plan), *_of_service(plan), *_of_facts(plan)]
    return tuple(sorted(found, key=lambda r: LEVELS.index(r.level)))


def _row(level: str, text: str, measure: str, owner: str) -> RiskRow:
    return RiskRow(level=level, level_word=called(CONFIDENCE, level), text=text, measure=measure, owner=_(owner))


def named(names: Sequence[str]) -> str:
    """Names, the first few of them."""
    first = comma_separated(shown(n, longest=60) for n in names[:MOST_NAMED])
    hidden = len(names) - MOST_NAMED
    return _("{names} and {n} more").format(names=first, n=whole(hidden)) if hidden > 0 else first


def _of_speed(plan: Plan, workloads: Sequence[WorkloadView]) -> Iterator[RiskRow]:
    missed = [w.name for w in workloads if w.status == "missed"]
    tight = [w.name for w in workloads if w.status == "tight"]
    if missed:
        yield _row(
            "high",
            _("Targets are missed: {names}.").format(names=named(missed)),
            _("Change the target, or allow other GPUs."),
            ENGINEERING,
        )
    if tight:
        yield _row(
            "medium",
            _("The uncertainty of the prediction reaches past a target: {names}.").format(names=named(tight)),
            _("Replay on one node before ordering (plan validate), or plan with a higher planning_quantile."),
            ENGINEERING,
        )
    unproven = [e.workload for e in plan.evidence if e.unproven]
    if unproven:
        yield _row(
            "medium",
            _("Nobody has measured these workloads as they are planned: {names}.").format(names=named(unproven)),
            _("Replay them on a rented GPU of that type (plan validate) before the order."),
            ENGINEERING,
        )
    full = [w.name for w in plan.workloads if w.headroom.get("memory", 1.0) < LITTLE_MEMORY]
    if full:
        yield _row(
            "medium",
            _("Under {share} of GPU memory is left beside the headroom: {names}.").format(
                share=percent(LITTLE_MEMORY), names=named(full)
            ),
            _("Check the peak on a device, or lower the batch."),
            ENGINEERING,
        )


def _of_prices(plan: Plan) -> Iterator[RiskRow]:
    paid = [line for line in plan.purchases if line.procurement != "owned"]
    unknown = [line.offer for line in paid if line.usd_per_hour is None]
    if unknown:
        yield _row(
            "high",
            _("The price is not known: {names}.").format(names=named(unknown)),
            _("Ask for a quote before approval."),
            PROCUREMENT,
        )
    weak = [line.offer for line in paid if (line.price_confidence or "").casefold() in LOW_CONFIDENCE]
    if weak:
        yield _row(
            "high" if any(line.capex_usd for line in paid if line.offer in weak) else "medium",
            _("The price is of low confidence: {names}.").format(names=named(weak)),
            _("Ask for a quote; the tornado chart shows what the readings span."),
            PROCUREMENT,
        )
    dates = sorted(line.price_as_of for line in paid if line.price_as_of)
    if dates:
        yield _row(
            "low",
            _("Prices change; the oldest used is of {date}.").format(date=date_text(dates[0])),
            _("Plan again with the prices of the quote before signing."),
            PROCUREMENT,
        )
    close = [e for e in plan.sensitivity if e.get("kind") == "price_flip" and 0 <= e.get("share", 1.0) < CLOSE_SHARE]
    if close:
        yield _row(
            "medium",
            _("The choice is close: {share} more for {offer} and another fleet is cheaper.").format(
                share=percent(close[0]["share"], 1), offer=shown(str(close[0].get("offer", "")))
            ),
            _("Get quotes for both before signing."),
            PROCUREMENT,
        )
    energy = [line for line in plan.purchases if line.energy_usd_per_hour > 0]
    if energy:
        yield _row(
            "low",
            _("The price of electricity is that of the region, not of your contract."),
            _("Give site.electricity_usd_per_kwh and plan again."),
            FACILITIES,
        )


def _of_supply(plan: Plan) -> Iterator[RiskRow]:
    rented = [line for line in plan.purchases if line.procurement not in ("owned", "buy")]
    spot = [line.offer for line in rented if line.procurement == "spot"]
    if spot:
        yield _row(
            "high",
            _("Spot nodes may be taken back at any time: {names}.").format(names=named(spot)),
            _("Keep checkpoints, and on-demand nodes for what must not stop."),
            OPERATIONS,
        )
    reserved = [line.offer for line in rented if line.procurement.startswith("reserved")]
    if reserved:
        yield _row(
            "medium",
            _("Reservations are paid to their end even if demand falls: {names}.").format(names=named(reserved)),
            _("Reserve only what the lowest expected demand needs."),
            PROCUREMENT,
        )
    if rented:
        yield _row(
            "medium" if sum(line.nodes for line in rented) > 1 else "low",
            _("Whether the rented nodes are free when wanted is not in the catalogs: {names}.").format(
                names=named(_providers(rented))
            ),
            _("Ask for the quota and, where it matters, a capacity reservation."),
            PROCUREMENT,
        )
    bought = [line.offer for line in plan.purchases if line.procurement == "buy"]
    if bought:
        yield _row(
            "medium",
            _("Delivery times are not in the catalogs: {names}.").format(names=named(bought)),
            _("Have the delivery date written into the order; rent until then."),
            PROCUREMENT,
        )


def _providers(lines: Sequence[PurchaseLine]) -> list[str]:
    return sorted({line.provider for line in lines})


def _of_service(plan: Plan) -> Iterator[RiskRow]:
    spares = plan.inputs.spec.get("fleet", {}).get("spare_nodes", 0)
    alone = [w.name for w in plan.workloads if w.mode == "infer" and w.replicas == 1]
    if alone and not spares:
        yield _row(
            "medium",
            _("One replica and no spare node, so that a fault stops the service: {names}.").format(names=named(alone)),
            _("Set fleet.spare_nodes, or pin two replicas."),
            OPERATIONS,
        )
    order = next_order(plan)
    if order is not None and order.demand_factor < LITTLE_GROWTH:
        yield _row(
            "medium",
            _("Growth of {share} fills the fleet: then {workload} needs another node.").format(
                share=room_percent(order.demand_factor - 1.0), workload=shown(order.workload)
            ),
            _("Watch demand monthly; order before the delivery time runs out."),
            OPERATIONS,
        )
    if plan.status == "feasible" and plan.solver.gap:
        yield _row(
            "low",
            _("A plan up to {share} better may exist.").format(share=percent(plan.solver.gap, 1)),
            _("Plan again with a longer time limit."),
            ENGINEERING,
        )


def _of_facts(plan: Plan) -> Iterator[RiskRow]:
    weak = sum(f.confidence.casefold() in LOW_CONFIDENCE for f in (*plan.inputs.facts, *plan.inputs.assumptions))
    if weak:
        yield _row(
            "low",
            ngettext(
                "{n} fact or assumption is of low confidence.", "{n} facts and assumptions are of low confidence.", weak
            ).format(n=whole(weak)),
            _("Confirm those marked in the register of assumptions."),
            ENGINEERING,
        )
    blind = [line.node for line in plan.purchases if not line.power_kw]
    if blind:
        yield _row(
            "medium",
            _("The power of these nodes is not published and counts as nothing: {names}.").format(names=named(blind)),
            _("Take it from the data sheet before the room is planned."),
            FACILITIES,
        )

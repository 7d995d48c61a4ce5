"""Machine room, risks and approval: figures that can be checked by hand, and nothing where nothing is needed."""

from __future__ import annotations

import pytest

from planner.plan.types import Plan, PurchaseLine
from planner.report.bill import idle_nodes
from planner.report.facility import facility_view, ports_text, racks_needed, racks_text
from planner.report.risks import risk_rows
from planner.report.sections import RiskRow
from planner.report.tables import tables
from planner.report.view import view_of


@pytest.fixture
def bought(two_workloads: Plan) -> PurchaseLine:
    """Nine nodes of 14.3 kW and 10 rack units, 400 Gbit/s a GPU."""
    return two_workloads.purchases[1].model_copy(
        update={
            "procurement": "buy",
            "nodes": 9,
            "gpus": 72,
            "power_kw": 128.7,
            "rack_units": 90.0,
            "network_bytes_per_second_per_gpu": 50e9,
            "capex_usd": 3_870_000.0,
            "price_confidence": "low",
        }
    )


def with_lines(plan: Plan, *lines: PurchaseLine) -> Plan:
    return plan.model_copy(update={"purchases": lines, "nodes": ()})


def levels(plan: Plan) -> dict[str, RiskRow]:
    return {r.text: r for r in risk_rows(plan, view_of(plan).workloads)}


def test_a_rack_holds_what_its_space_and_its_power_allow(bought: PurchaseLine) -> None:
    """Four nodes of 10 units by space; one at 20 kW, two at 40 kW, none at 10 kW."""
    assert racks_needed([bought], 100) == 3
    assert racks_needed([bought], 40) == 5
    assert racks_needed([bought], 20) == 9
    assert racks_needed([bought], 10) is None
    assert racks_text([bought], 10) == "not possible: one node draws 14.3 kW"


def test_all_power_becomes_heat(two_workloads: Plan, bought: PurchaseLine) -> None:
    """128.7 kW are 439,143 BTU an hour and 36.6 tons of refrigeration."""
    view = facility_view(with_lines(two_workloads, bought))
    assert view is not None
    assert (view.rows[0].heat, view.total.heat) == ("439,143", "439,143")
    assert dict(view.figures)["Cooling for the machines of your own"] == "129 kW of heat, 36.6 tons of refrigeration"
    assert ports_text(bought) == "72 × 400 Gbit/s"


def test_rented_machines_need_no_room(two_workloads: Plan) -> None:
    view = facility_view(two_workloads)
    assert view is not None
    assert view.lead == "Nothing has to be housed: all machines stand at their providers."
    assert (view.rows, view.racks) == ((), ())
    assert dict(view.figures)["Carbon over the horizon"] == "67.2 t of CO2 in 36 months"  # 36 x 1,866 kg


def test_space_that_nobody_publishes_leaves_no_number_of_racks(bought: PurchaseLine) -> None:
    unknown = bought.model_copy(update={"rack_units": None})
    assert racks_text([unknown], 40) == "not known: the space of a node is not published"


def test_a_purchase_at_a_weak_price_is_a_high_risk_of_procurement(two_workloads: Plan, bought: PurchaseLine) -> None:
    rows = levels(with_lines(two_workloads, bought))
    row = rows["The price is of low confidence: lambda/gpu_8x_h100_sxm5/us-east."]
    assert (row.level, row.owner) == ("high", "Procurement")
    assert "Delivery times are not in the catalogs: lambda/gpu_8x_h100_sxm5/us-east." in rows


def test_spot_nodes_are_a_high_risk_and_owned_ones_none(two_workloads: Plan) -> None:
    spot = [line.model_copy(update={"procurement": "spot"}) for line in two_workloads.purchases]
    assert any(
        t.startswith("Spot nodes") and r.level == "high" for t, r in levels(with_lines(two_workloads, *spot)).items()
    )
    owned = [line.model_copy(update={"procurement": "owned"}) for line in two_workloads.purchases]
    told = levels(with_lines(two_workloads, *owned))
    assert not [t for t in told if t.startswith(("Spot", "Whether the rented", "Delivery", "Prices change"))]


def test_risks_stand_in_the_order_of_their_level(two_workloads: Plan, bought: PurchaseLine) -> None:
    found = [r.level for r in risk_rows(with_lines(two_workloads, bought), view_of(two_workloads).workloads)]
    assert found == sorted(found, key=["high", "medium", "low"].index)
    assert set(found) == {"high", "medium", "low"}


def test_an_infeasible_plan_has_neither_room_nor_risks_nor_a_block_to_sign(infeasible: Plan) -> None:
    view = view_of(infeasible)
    assert (view.facility, view.risks) == (None, ())
    assert [role for role, _name in view.signoff.roles] == [
        "Prepared by",
        "Technical review",
        "Procurement",
        "Budget owner",
    ]
    assert "signoff" not in [s.id for s in view.sections]


def test_every_fact_has_an_owner(two_workloads: Plan) -> None:
    facts = tables(view_of(two_workloads))["assumptions"]
    owners = [row[facts[0].index("owner")] for row in facts[1:]]
    assert set(owners) <= {"Engineering", "Procurement", "Facilities"}
    assert all(owners)


def test_a_choice_that_a_small_rise_changes_is_called_close(two_workloads: Plan) -> None:
    def with_flip(share: float) -> Plan:
        flip = {"kind": "price_flip", "offer": "lambda/h100", "share": share, "is_proven": True, "text": ""}
        return two_workloads.model_copy(update={"sensitivity": (flip,)})

    text = "The choice is close: 1.3 % more for lambda/h100 and another fleet is cheaper."
    assert text in levels(with_flip(0.0131))
    assert not [t for t in levels(with_flip(0.3)) if t.startswith("The choice is close")]


def test_the_bill_says_which_nodes_stand_by_and_that_delivery_must_be_asked(
    two_workloads: Plan, bought: PurchaseLine
) -> None:
    spare = two_workloads.nodes[1].model_copy(update={"nodes": 1, "replicas": {}, "gpus_used": 0})
    plan = two_workloads.model_copy(update={"nodes": (*two_workloads.nodes, spare)})
    assert view_of(plan).bill.terms == ("1 of the nodes stands by empty, for faults.",)
    assert view_of(two_workloads).bill.total_label == "Total: 3 nodes"
    (asked,) = view_of(with_lines(two_workloads, bought)).bill.terms
    assert asked.startswith("Delivery times of bought nodes are not in the catalogs")


def test_a_node_that_works_at_night_does_not_stand_by(two_workloads: Plan) -> None:
    day = two_workloads.nodes[1]
    night = day.model_copy(update={"replicas": {}, "gpus_used": 0, "time_index": 1})
    other = two_workloads.nodes[0].model_copy(update={"time_index": 1})
    shared = two_workloads.model_copy(update={"nodes": (*two_workloads.nodes, other, night)})
    assert idle_nodes(shared) == 0
    assert idle_nodes(two_workloads.model_copy(update={"nodes": (night, other)})) == 1

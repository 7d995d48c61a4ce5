"""A plan costed again at other figures: whole replicas on whole nodes, and the plan itself where nothing differs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan.types import DayTime, Plan
from planner.report.growth import growth_view
from planner.report.sensitivity import sensitivity_view, tornado
from planner.report.view import view_of
from planner.report.whatif import Shares, capacity, first_fit, months_until, next_order, nodes_by_line, recosted
from tests.plan.plans import plan_of


def at_demand(factor: float) -> Shares:
    return Shares(demand_factor=factor, speed_factors={})


def test_nothing_different_costs_what_the_plan_costs(two_workloads: Plan) -> None:
    for plan in (two_workloads, plan_of()):
        again = recosted(plan, at_demand(1.0))
        assert plan.totals is not None
        assert again.usd_per_hour == pytest.approx(plan.totals.usd_per_hour)
        assert (again.nodes, again.gpus, again.missed) == (plan.totals.nodes, plan.totals.gpus, ())


def test_a_service_gets_a_node_for_every_replica_that_it_lacks(two_workloads: Plan) -> None:
    """Two replicas of chat, a node each at 1.8611 USD/h, carry 1.098 times the demand: 0.549 each."""
    assert nodes_by_line(two_workloads, at_demand(1.09)) == (2, 1)
    assert nodes_by_line(two_workloads, at_demand(1.11)) == (3, 1)
    assert nodes_by_line(two_workloads, at_demand(1.65)) == (4, 1)
    assert nodes_by_line(two_workloads, at_demand(0.5)) == (1, 1)
    more = recosted(two_workloads, at_demand(1.2)).usd_per_hour
    assert more == pytest.approx(27.6422 + 3.7222 / 2)


def test_half_the_speed_takes_as_much_as_twice_the_demand(two_workloads: Plan) -> None:
    slow = Shares(speed_factors={"chat": 0.5})
    assert nodes_by_line(two_workloads, slow) == nodes_by_line(two_workloads, at_demand(2.0))


def test_a_training_that_gets_slower_misses_its_deadline_and_gets_no_machines(two_workloads: Plan) -> None:
    """16.38 of 20 hours: it may be slower by 18 %."""
    assert recosted(two_workloads, Shares(speed_factors={"tune": 0.83})).missed == ()
    late = recosted(two_workloads, Shares(speed_factors={"tune": 0.8}))
    assert late.missed == ("tune",)
    assert late.nodes == 3


@given(st.lists(st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 30)), min_size=1, max_size=4))
def test_pieces_that_divide_a_node_fill_it_without_a_gap(pieces: list[tuple[int, int]]) -> None:
    assert first_fit(pieces, 8) == math.ceil(sum(gpus * n for gpus, n in pieces) / 8)


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 20)), min_size=1, max_size=4))
def test_no_gpu_is_given_out_twice(pieces: list[tuple[int, int]]) -> None:
    nodes = first_fit(pieces, 8)
    assert nodes * 8 >= sum(gpus * n for gpus, n in pieces)
    assert nodes <= sum(n for _gpus, n in pieces)


def test_the_next_order_is_due_just_beyond_what_the_nodes_carry(two_workloads: Plan) -> None:
    order = next_order(two_workloads)
    assert order is not None
    assert (order.workload, order.offer) == ("chat", "aws/g6e.xlarge/us-east-1")
    assert nodes_by_line(two_workloads, at_demand(order.demand_factor)) == (2, 1)
    assert nodes_by_line(two_workloads, at_demand(order.demand_factor * 1.001)) == (3, 1)


def test_months_until_capacity_is_full_are_full_months() -> None:
    assert months_until(1.098, 0.05) == 1  # 1.05, 1.1025
    assert months_until(1.2763, 0.05) == 5  # 1.05**5 = 1.27628


def test_demand_stands_beside_capacity(two_workloads: Plan) -> None:
    assert capacity(two_workloads.workloads[0]) == pytest.approx(1 / (1 - 0.0895))
    view = growth_view(two_workloads)
    assert view is not None
    assert [(r.name, r.used, r.room, r.due) for r in view.rows] == [("chat", "92 %", "9.8 %", "after 1 month")]


def test_the_bars_of_a_tornado_start_or_end_at_the_plan(two_workloads: Plan) -> None:
    view = tornado(two_workloads)
    assert view is not None
    planned = float(view.planned_at.rstrip("%"))
    for row in view.rows:
        left, below, above = (float(v.rstrip("%")) for v in (row.left, row.below, row.above))
        assert left + below == pytest.approx(planned, abs=0.01)
        assert planned + above <= 100.0
    widths = [float(r.below.rstrip("%")) + float(r.above.rstrip("%")) for r in view.rows]
    assert widths == sorted(widths, reverse=True)


def test_prices_move_between_their_readings(two_workloads: Plan) -> None:
    """One line between 1.861 and 2.14 USD/h a node; the other, with one reading, by a fifth."""
    view = tornado(two_workloads)
    assert view is not None
    (row,) = [r for r in view.rows if r.label == "Prices of nodes"]
    assert row.high == "32.98"  # 27.6422 + (2 x 2.14 - 3.7222) + 0.2 x 23.92
    assert row.low_end == "−20 %"


def test_points_of_cost_and_power_are_drawn_with_their_figures(two_workloads: Plan) -> None:
    points = (
        {"usd_per_hour": 27.6422, "it_power_kw": 5.472, "gpus": 10.0, "nodes": 3.0},
        {"usd_per_hour": 30.0, "it_power_kw": 4.0, "gpus": 8.0, "nodes": 2.0},
    )
    view = sensitivity_view(two_workloads.model_copy(update={"pareto": points}))
    assert view is not None
    assert view.pareto is not None
    assert [r[:3] for r in view.pareto.rows] == [("A", "27.64", "5.47"), ("B", "30.00", "4")]
    assert float(view.pareto.plot.marks[0].x.rstrip("%")) < float(view.pareto.plot.marks[1].x.rstrip("%"))
    assert "sensitivity" in [s.id for s in view_of(two_workloads.model_copy(update={"pareto": points})).sections]


def test_traffic_that_was_solved_again_is_told_as_solved(two_workloads: Plan) -> None:
    entries = tuple(
        {"kind": "traffic", "share": share, "usd_per_hour": cost, "is_proven": True, "text": "as told"}
        for share, cost in ((-0.2, 25.0), (0.2, 30.5))
    )
    view = tornado(two_workloads.model_copy(update={"sensitivity": entries}))
    assert view is not None
    (row,) = [r for r in view.rows if r.label == "Traffic of all services"]
    assert (row.low, row.high) == ("25.00", "30.50")
    assert "For other traffic the whole fleet was solved again." in view.notes


def test_replicas_on_parts_of_a_gpu_take_their_part(two_workloads: Plan) -> None:
    """Two of seven slices each: three fit on the one GPU of a node, four do not."""
    chat = two_workloads.workloads[0]
    placed = chat.placements[0].model_copy(update={"replicas": 3, "slices": (2, 2), "slices_of_gpu": (7, 8)})
    cut = chat.model_copy(update={"placements": (placed,), "replicas": 3, "headroom": {"demand": 0.0}})
    line = two_workloads.purchases[0].model_copy(update={"nodes": 1, "gpus": 1})
    plan = two_workloads.model_copy(
        update={"workloads": (cut, two_workloads.workloads[1]), "purchases": (line, two_workloads.purchases[1])}
    )
    assert nodes_by_line(plan, at_demand(1.0)) == (1, 1)
    assert nodes_by_line(plan, at_demand(1.01)) == (2, 1)


def test_what_runs_at_night_does_not_add_to_what_runs_by_day(two_workloads: Plan) -> None:
    chat, tune = two_workloads.workloads
    offer = two_workloads.purchases[1].offer
    placed = chat.placements[0].model_copy(update={"offer": offer, "replicas": 8})
    served = chat.model_copy(update={"placements": (placed,), "replicas": 8, "headroom": {"demand": 0.5}})
    by_day = two_workloads.nodes[1].model_copy(update={"purchase": 0, "replicas": {"chat": 8}})
    by_night = by_day.model_copy(update={"replicas": {"tune": 1}, "time_index": 1})
    times = (DayTime(hours=("08:00-20:00",), workloads=("chat",)), DayTime(hours=("20:00-08:00",), workloads=("tune",)))
    plan = two_workloads.model_copy(
        update={
            "workloads": (served, tune),
            "purchases": (two_workloads.purchases[1],),
            "nodes": (by_day, by_night),
            "times_of_day": times,
        }
    )
    assert nodes_by_line(plan, at_demand(2.0)) == (1,)
    assert nodes_by_line(plan, at_demand(2.1)) == (2,)

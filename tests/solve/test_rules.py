"""Each rule alone, at both sides of its edge."""

from __future__ import annotations

from typing import Any

import pytest

from planner.solve import rules
from planner.solve.cp import CpModel
from planner.solve.instance import Instance, prepare
from planner.solve.problem import Problem
from planner.solve.search import Effort, ask
from planner.solve.variables import FleetVars
from tests.solve.examples import column, node, problem

ALL = frozenset({"cost", "power", "nodes", "gpus", "capex", "capex_per_period", "rack_units", "carbon", "stock.a"})


def one_node(limits: dict[str, int] | None = None, periods: int = 1, **more: Any) -> Problem:
    """One node type `a` and one workload of one GPU on it."""
    types = {"a": node(**more)}
    return problem(types, {"w": [column("c", "a", gpus=1)]}, limits=limits or {}, periods=periods)


def model(p: Problem) -> tuple[Instance, FleetVars, CpModel]:
    i = prepare(p, prune=False)
    m = CpModel()
    return i, FleetVars.create(i, m), m


def feasible(m: CpModel) -> bool:
    return ask(m, Effort()).is_feasible


def fixed(p: Problem, rented: int, rule: Any) -> bool:
    """Whether a rule allows that many rented nodes."""
    i, x, m = model(p)
    x.rented["a", 0].proto.domain[1] = 1000
    x.present["a", 0].proto.domain[1] = 1000
    rule(i, x, m)
    m.add(x.rented["a", 0] == rented)
    m.add(x.present["a", 0] == rented)
    return feasible(m)


@pytest.mark.parametrize(("nodes", "allowed"), [(0, True), (1, True), (2, True), (3, False)])
def test_stock_counts_nodes(nodes: int, allowed: bool) -> None:
    p = one_node(stock=2)
    assert fixed(p, nodes, lambda i, x, m: rules.nodes_stay_within_stock(i, x, m, kept=ALL)) is allowed


@pytest.mark.parametrize(("nodes", "allowed"), [(2, True), (3, False)])
def test_rented_nodes_stay_within_what_can_be_rented(nodes: int, allowed: bool) -> None:
    p = one_node(cost_max_nodes=2)
    assert fixed(p, nodes, lambda i, x, m: rules.nodes_stay_within_stock(i, x, m, kept=ALL)) is allowed


@pytest.mark.parametrize(
    ("limit", "value", "more"),
    [
        ("cost", 20, {"cost": 10}),
        ("power", 14, {"power": 7}),
        ("nodes", 2, {}),
        ("gpus", 16, {"gpus": 8}),
        ("capex", 500, {"capex": 250}),
        ("rack_units", 8, {"rack_units": 4}),
        ("carbon", 6, {"carbon": 3}),
    ],
)
@pytest.mark.parametrize(("nodes", "short_by", "allowed"), [(2, 0, True), (2, 1, False), (3, 0, False)])
def test_a_limit_holds_at_its_value_and_not_beyond(
    limit: str, value: int, more: dict[str, int], nodes: int, short_by: int, allowed: bool
) -> None:
    p = one_node({limit: value - short_by}, **more)
    assert fixed(p, nodes, lambda i, x, m: rules.fleet_stays_within_limits(i, x, m, kept=ALL)) is allowed


def test_a_limit_that_is_not_kept_binds_nothing() -> None:
    p = one_node({"nodes": 0})
    assert fixed(p, 3, lambda i, x, m: rules.fleet_stays_within_limits(i, x, m, kept=frozenset()))


@pytest.mark.parametrize(("taken", "allowed"), [((0, 0), False), ((1, 0), True), ((0, 1), True), ((1, 1), False)])
def test_exactly_one_column_is_taken(taken: tuple[int, int], allowed: bool) -> None:
    i, x, m = model(problem({"a": node()}, {"w": [column("c", "a"), column("d", "a", gpus=2)]}))
    rules.every_workload_is_served(i, x, m)
    m.add(x.takes["w", "c"] == taken[0])
    m.add(x.takes["w", "d"] == taken[1])
    assert feasible(m) is allowed


@pytest.mark.parametrize(("replicas", "allowed"), [(2, False), (3, True)])
def test_replicas_serve_the_demand_exactly(replicas: int, allowed: bool) -> None:
    workload = {"mode": "replicas", "demand": 0.3, "columns": [{"id": "c", "node": "a", "rate": 0.1}]}
    i, x, m = model(problem({"a": node()}, {"w": workload}))
    rules.every_workload_is_served(i, x, m)
    m.add(x.copies["w", "c", 0] == replicas)
    assert feasible(m) is allowed


@pytest.mark.parametrize(("nodes", "allowed"), [(1, False), (2, True)])
def test_pieces_need_a_place_in_a_pattern(nodes: int, allowed: bool) -> None:
    """Two pieces of 5 GPUs do not share 8, although 10 GPUs are fewer than 16."""
    i, x, m = model(problem({"a": node()}, {"v": [column("c", "a", gpus=5)], "w": [column("d", "a", gpus=5)]}))
    for w, c in (("v", "c"), ("w", "d")):
        m.add(x.takes[w, c] == 1)
    rules.replicas_fit_on_nodes(i, x, m)
    m.add(x.present["a", 0] == nodes)
    assert feasible(m) is allowed


@pytest.mark.parametrize(("ram", "nodes", "allowed"), [(50, 1, True), (51, 1, False), (51, 2, True)])
def test_memory_packs_as_well_as_gpus(ram: int, nodes: int, allowed: bool) -> None:
    columns = {w: [column("c", "a", gpus=1, ram=ram)] for w in ("v", "w")}
    i, x, m = model(problem({"a": node(ram=100)}, columns))
    for w in columns:
        m.add(x.takes[w, "c"] == 1)
    rules.replicas_fit_on_nodes(i, x, m)
    m.add(x.present["a", 0] == nodes)
    assert feasible(m) is allowed


@pytest.mark.parametrize(("present", "allowed"), [(1, False), (2, True)])
def test_a_spare_stands_beside_working_nodes(present: int, allowed: bool) -> None:
    i, x, m = model(one_node(spares=1))
    rules.every_workload_is_served(i, x, m)
    rules.gpus_in_use_are_there(i, x, m)
    rules.spare_nodes_stand_idle(i, x, m)
    m.add(x.present["a", 0] == present)
    assert feasible(m) is allowed


@pytest.mark.parametrize(("ordered", "allowed"), [(2, True), (3, False)])
def test_orders_stay_within_deliveries(ordered: int, allowed: bool) -> None:
    i, x, m = model(one_node(buy={"cost": 1, "max_per_period": 2}))
    (bought,) = x.bought.values()
    bought.proto.domain[1] = 100
    rules.orders_stay_within_what_can_be_delivered(i, x, m)
    m.add(bought == ordered)
    assert feasible(m) is allowed


@pytest.mark.parametrize(("period", "present"), [(0, 0), (1, 0), (2, 1)])
def test_bought_nodes_arrive_after_their_lead_time(period: int, present: int) -> None:
    i, x, m = model(one_node(periods=3, cost=None, buy={"cost": 1, "lead": 2}))
    rules.present_nodes_are_owned_or_paid_for(i, x, m)
    ((t, delivery),) = x.bought
    assert (t, delivery.ordered) == ("a", 0)
    m.add(x.bought["a", delivery] == 1)
    m.add(x.present["a", period] == present)
    assert feasible(m)


def test_a_reservation_ends_with_its_term() -> None:
    i, x, m = model(one_node(periods=3, cost=None, reserve={"cost": 1, "term": 2}))
    rules.present_nodes_are_owned_or_paid_for(i, x, m)
    for (_, contract), reserved in x.reserved.items():
        m.add(reserved == (contract.first == 0))
    answer = ask(m, Effort())
    assert [answer.values[x.present["a", p].index] for p in range(3)] == [1, 1, 0]


def test_every_rule_says_what_it_states() -> None:
    listed = (*rules.MECHANICS, *rules.REQUIREMENTS)
    assert len(listed) >= 8
    for rule in listed:
        assert rule.__doc__

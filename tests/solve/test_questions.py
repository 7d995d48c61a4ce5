"""Questions beyond the best answer: fronts, prices at which the choice flips, other choices, fewest changes."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import HealthCheck, given, settings

from planner.solve.alternatives import all_on, forced_choices, forced_nearby
from planner.solve.pareto import front
from planner.solve.problem import Problem
from planner.solve.replan import in_use, least_change
from planner.solve.sensitivity import one_more_node, price_flip, rented_nodes
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.brute_force import best
from tests.solve.examples import column, node, problem
from tests.solve.strategies import small_problems

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TYPES = {"cheap": node(gpus=1, cost=5, power=9), "frugal": node(gpus=1, cost=8, power=4)}
WORKLOADS = {w: [column("c", "cheap"), column("f", "frugal")] for w in ("u", "v")}


def test_the_front_of_two_services_has_three_points() -> None:
    found = front(problem(TYPES, WORKLOADS))
    assert found.is_complete
    assert [(s.objective["cost"], s.objective["power"]) for s in found.points] == [(10, 18), (13, 13), (16, 8)]


@QUICK
@given(small_problems(limited=False))
def test_no_point_of_the_front_is_missing_or_dominated(p: Problem) -> None:
    """Between two points no power allows less cost than the point to the left of it has (by trying everything)."""
    found = front(p)
    assert found.is_complete
    costs = {s.objective["power"]: s.objective["cost"] for s in found.points}
    for power in range(max(costs, default=-1) + 2):
        limited = p.model_copy(update={"limits": p.limits.model_copy(update={"power": power})})
        expected = best(limited)
        reachable = [cost for needed, cost in costs.items() if needed <= power]
        assert (expected[0] if expected else None) == min(reachable, default=None)


def test_one_more_node_of_a_type_that_is_sold_out_saves_the_difference_in_price() -> None:
    types = {"cheap": node(gpus=1, cost=5, stock=1), "dear": node(gpus=1, cost=8, stock=9)}
    p = problem(types, {w: [column("c", "cheap"), column("d", "dear")] for w in ("u", "v")})
    found = one_more_node(p, solve(p))
    assert [(e.node, e.saves, e.is_proven) for e in found] == [("cheap", 3, True)]


def test_the_choice_flips_when_the_price_passes_the_other_ones() -> None:
    """One node of `big` for 20 or three of `small` for 7 each: at 22 the small ones are cheaper."""
    types = {"big": node(gpus=1, cost=20), "small": node(gpus=1, cost=7)}
    p = problem(types, {"w": [column("b", "big"), column("s", "small", replicas=3)]})
    found = price_flip(p, solve(p), "big")
    assert found is not None
    assert (found.price, found.share, found.is_proven) == (22, Fraction(1, 10), True)
    assert found.to.assignments["w"][0].column == "s"
    assert price_flip(p, solve(p), "small") is None


@QUICK
@given(small_problems(limited=False))
def test_at_the_flip_fewer_nodes_win_and_one_unit_before_they_do_not(p: Problem) -> None:
    types = {t: n.model_copy(update={"buy": None}) for t, n in p.node_types.items()}
    p = p.model_copy(update={"node_types": types, "objective": ("cost",)})
    solution = solve(p)
    for t, n in p.node_types.items():
        flip = price_flip(p, solution, t) if solution.status == "optimal" else None
        if flip is None or n.cost is None:
            continue
        before = rented_nodes(solution, t)
        for price, wins in ((flip.price, True), (flip.price - 1, False)):
            at = p.model_copy(update={"node_types": {**types, t: n.model_copy(update={"cost": price})}})
            expected = best(at)
            assert expected is not None
            in_hand = solution.objective["cost"] + before * (price - n.cost)
            assert (expected[0] < in_hand) is wins


def test_a_forced_choice_costs_the_fleet_what_it_displaces() -> None:
    """Two halves of a node share one; the other choice for `w` needs a node of its own."""
    types = {"a": node(gpus=8, cost=10), "b": node(gpus=4, cost=7)}
    workloads = {"v": [column("a", "a", gpus=4)], "w": [column("a", "a", gpus=4), column("b", "b", gpus=4)]}
    p = problem(types, workloads)
    found = forced_choices(p, solve(p), "w", {"on b": ["b"], "on a": ["a"], "nowhere": []})
    assert [(f.name, f.more, f.is_proven) for f in found] == [
        ("on a", 0, True),
        ("on b", 7, True),
        ("nowhere", None, False),
    ]


def test_everything_on_one_type_has_its_price_or_is_not_possible() -> None:
    p = problem(TYPES, {**WORKLOADS, "only": [column("f", "frugal")]})
    found = all_on(p, solve(p), {"cheap": ["cheap"], "frugal": ["frugal"]})
    assert [(f.name, f.more) for f in found] == [("frugal", 6), ("cheap", None)]


def test_the_fewest_changes_among_the_cheapest_or_within_an_extra_cost() -> None:
    """`w` ran on b; a is one cheaper, b is kept where 20 % more is allowed."""
    types = {"a": node(gpus=1, cost=9), "b": node(gpus=1, cost=10), "c": node(gpus=1, cost=9)}
    p = problem(types, {"w": [column(t, t) for t in types], "v": [column(t, t) for t in types]})
    running = {"w": ["b"], "v": ["c"]}
    stay = least_change(p, running)
    assert (stay.objective["cost"], stay.objective["moves"]) == (18, 1)
    assert stay.assignments["v"][0].column == "c"
    near = least_change(p, running, extra_share=Fraction(1, 5))
    assert (near.objective["cost"], near.objective["moves"]) == (19, 0)
    assert in_use(near) == {"w": {"b"}, "v": {"c"}}
    assert verify(p, stay.model_copy(update={"objective": {}, "bound": None})) == ()


def test_the_first_objective_may_have_a_far_larger_worst_case_than_any_answer() -> None:
    """The weighted sum of all objectives would leave 64 bits over the domains: they are asked for in turn."""
    kinds = {f"n{k}": node(gpus=1, cost=50_000_003 + k, power=10_000 + 7 * k) for k in range(300)}
    ways = [column(t, t, replicas=12, preference=9_001 + k) for k, t in enumerate(kinds)]
    asked = problem(kinds, {"u": ways, "v": ways})
    found = solve(asked.model_copy(update={"objective": ("power", "cost", "nodes", "preference")}))
    assert (found.status, found.objective["power"], found.objective["nodes"]) == ("optimal", 240_000, 24)


@QUICK
@given(small_problems(limited=False))
def test_a_choice_forced_near_the_best_fleet_costs_no_less_than_one_forced_anywhere(p: Problem) -> None:
    """Where it says that it costs nothing more, that is so."""
    p = p.model_copy(update={"objective": ("cost",)})
    found = solve(p)
    if found.status != "optimal":
        return
    for w in p.workloads:
        for c in w.columns:
            near = forced_nearby(p, found, w.id, [c.id], name="c", deterministic_limit=1.0)
            (anywhere,) = forced_choices(p, found, w.id, {"c": [c.id]})
            if near.more is None:
                continue
            assert anywhere.more is not None
            assert near.more >= anywhere.more
            assert not near.is_proven or near.more == anywhere.more == 0


def test_room_for_a_forced_choice_is_made_by_moving_another_workload() -> None:
    """Both run on our own node; forced to all of it, `u` sends `v` to a small node instead of a second big one."""
    types = {"own": node(gpus=8, cost=90, owned=1), "small": node(gpus=1, cost=5)}
    workloads = {
        "u": [column("half", "own", gpus=4), column("whole", "own", gpus=8)],
        "v": [column("here", "own", gpus=4), column("there", "small")],
    }
    p = problem(types, workloads, objective=["cost"])
    near = forced_nearby(p, solve(p), "u", ["whole"], name="whole", deterministic_limit=1.0)
    assert near.more == 5

"""Replicas that must not all fall with one node, and workloads that share none."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import InputError
from planner.solve.problem import Problem, parse_problem
from planner.solve.solver import solve
from planner.solve.verify import verify
from tests.solve.examples import column, node, problem


def workload(columns: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"columns": columns, **more}


def test_two_replicas_that_fit_one_node_are_put_on_two() -> None:
    columns = [column("c", "a", gpus=1, replicas=2)]
    assert solve(problem({"a": node()}, {"w": workload(columns)})).nodes == {"a": (1,)}
    p = problem({"a": node()}, {"w": workload(columns, least_nodes=2)})
    solution = solve(p)
    assert solution.nodes == {"a": (2,)}
    assert verify(p, solution) == ()


def test_one_replica_cannot_sit_on_two_nodes() -> None:
    ways = [column("one", "a", gpus=8, replicas=1), column("two", "a", gpus=8, replicas=3)]
    solution = solve(problem({"a": node()}, {"w": workload(ways, least_nodes=2)}))
    assert solution.assignments["w"][0].column == "two"
    only = solve(problem({"a": node()}, {"w": workload(ways[:1], least_nodes=2)}))
    assert only.conflict == ("workload.w",)


def test_a_replica_over_two_nodes_is_on_two() -> None:
    ways = [column("wide", "a", gpus=16, nodes=2, replicas=1)]
    assert solve(problem({"a": node()}, {"w": workload(ways, least_nodes=2)})).nodes == {"a": (2,)}


def test_workloads_apart_share_no_node() -> None:
    columns = [column("c", "a", gpus=2)]
    together = {"v": workload(columns), "w": workload(columns)}
    assert solve(problem({"a": node()}, together)).nodes == {"a": (1,)}
    p = problem({"a": node()}, {"v": workload(columns), "w": workload(columns, apart_from=["v"])})
    solution = solve(p)
    assert solution.nodes == {"a": (2,)}
    assert verify(p, solution) == ()


def test_services_spread_over_the_same_two_nodes_share_them() -> None:
    columns = [column("c", "a", gpus=2, replicas=2)]
    p = problem({"a": node(gpus=4)}, {w: workload(columns, least_nodes=2) for w in ("v", "w")})
    assert solve(p).nodes == {"a": (2,)}


def test_thirty_services_are_spread_over_the_same_nodes() -> None:
    """Sixty pieces of one GPU fill eight nodes of eight; each service sits on two of them."""
    columns = [column("c", "a", gpus=1, replicas=2)]
    p = problem({"a": node()}, {f"w{n:02d}": workload(columns, least_nodes=2) for n in range(30)})
    solution = solve(p)
    assert solution.nodes == {"a": (8,)}
    assert verify(p, solution) == ()


def test_replicas_of_several_columns_may_be_the_two_nodes() -> None:
    columns = [{"id": t, "node": t, "gpus": 1, "rate": 1} for t in ("a", "b")]
    types = {"a": node(stock=1), "b": node(cost=11)}
    p = problem(types, {"w": {"mode": "replicas", "demand": 2, "columns": columns, "least_nodes": 2}})
    assert solve(p).nodes == {"a": (1,), "b": (1,)}


def test_the_checker_finds_replicas_that_share_what_they_must_not() -> None:
    columns = [column("c", "a", gpus=1, replicas=2)]
    loose = problem({"a": node()}, {"v": workload(columns), "w": workload(columns)})
    strict = problem({"a": node()}, {"v": workload(columns, least_nodes=2), "w": workload(columns, apart_from=["v"])})
    wrong = verify(strict, solve(loose))
    assert any("sits on 1 nodes in period 0, not 2" in text for text in wrong)
    assert any("w shares a node with v" in text for text in wrong)


@pytest.mark.parametrize(
    ("workloads", "text"),
    [
        ('[{"id": "w", "apart_from": ["w"], "columns": []}]', "apart_from: names itself"),
        ('[{"id": "w", "apart_from": ["x"], "columns": []}]', "apart_from: unknown workload 'x'"),
        ('[{"id": "w", "mode": "fluid", "demand": 1, "least_nodes": 2, "columns": []}]', "w is fluid"),
    ],
)
def test_places_that_cannot_be_asked_for_are_refused(workloads: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        parse_problem(f'{{"node_types": {{"a": {{"gpus": 8}}}}, "workloads": {workloads}}}')


@st.composite
def placed_problems(draw: st.DrawFn) -> Problem:
    """Two node types, three workloads of few replicas, some spread, some apart."""
    types = {
        t: node(
            gpus=draw(st.sampled_from([2, 3, 4])), cost=draw(st.integers(1, 5)), ram=draw(st.sampled_from([None, 4]))
        )
        for t in "ab"
    }
    workloads = {}
    names = ["u", "v", "w"][: draw(st.integers(1, 3))]
    for n, name in enumerate(names):
        columns = [
            column(
                f"c{k}",
                draw(st.sampled_from("ab")),
                gpus=draw(st.integers(1, 2)),
                ram=draw(st.integers(0, 2)),
                replicas=draw(st.integers(1, 2)),
            )
            for k in range(draw(st.integers(1, 2)))
        ]
        apart = [other for other in names[:n] if draw(st.integers(0, 2)) == 0]
        workloads[name] = workload(columns, least_nodes=draw(st.sampled_from([1, 1, 2])), apart_from=apart)
    return problem(types, workloads)


def least_cost(p: Problem) -> int | None:
    """By trying every choice of columns and every node for every replica."""
    found = [cost for choice in product(*(w.columns for w in p.workloads)) for cost in costs(p, choice)]
    return min(found, default=None)


def costs(p: Problem, choice: Any) -> Iterator[int]:
    pieces = [(w, c) for w, c in zip(p.workloads, choice, strict=True) for _ in range(c.replicas)]
    for places in groupings(len(pieces)):
        on: dict[tuple[str, int], list[tuple[Any, Any]]] = {}
        for (w, c), place in zip(pieces, places, strict=True):
            on.setdefault((c.node, place), []).append((w, c))
        if all(is_allowed(p, key[0], held) for key, held in on.items()) and all(
            len({key for key, held in on.items() if any(v.id == w.id for v, _ in held)}) >= w.least_nodes
            for w in p.workloads
        ):
            yield sum(p.node_types[t].cost or 0 for t, _ in on)


def groupings(count: int) -> Iterator[tuple[int, ...]]:
    """Every way to put things together, each thing into a group there is already or a new one."""
    if not count:
        yield ()
        return
    for before in groupings(count - 1):
        yield from ((*before, place) for place in range(max(before, default=-1) + 2))


def is_allowed(p: Problem, t: str, held: list[tuple[Any, Any]]) -> bool:
    whole = p.node_types[t]
    names = {w.id for w, _ in held}
    return (
        sum(c.gpus for _, c in held) <= whole.gpus
        and (whole.ram is None or sum(c.ram for _, c in held) <= whole.ram)
        and not any(names & set(w.apart_from) for w, _ in held)
    )


@given(placed_problems())
@settings(max_examples=40, deadline=None)
def test_spread_and_apart_agree_with_trying_everything(p: Problem) -> None:
    solution = solve(p)
    assert (solution.objective.get("cost") if solution.objective else None) == least_cost(p)
    assert verify(p, solution) == ()

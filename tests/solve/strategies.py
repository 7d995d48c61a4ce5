"""Small random problems."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from planner.solve.problem import Problem


@st.composite
def small_problems(draw: st.DrawFn, *, limited: bool = True) -> Problem:
    """Up to three node types and three workloads of one period, modes `one` and `replicas`, some at night, some on
    slices of GPUs."""
    node_types: dict[str, Any] = {}
    for t in ("a", "b", "c")[: draw(st.integers(1, 3))]:
        node = {
            "gpus": draw(st.sampled_from([1, 2, 3, 4, 8])),
            "ram": draw(st.sampled_from([None, 4, 10])),
            "power": draw(st.integers(0, 5)),
            "cost": draw(st.sampled_from([None, 1, 3, 5, 7])),
            "stock": draw(st.sampled_from([None, None, 1, 3])),
            "owned": draw(st.sampled_from([0, 0, 1])),
            "opex": draw(st.integers(0, 2)),
            "spares": draw(st.sampled_from([0, 0, 0, 1])),
            "slices": draw(st.sampled_from([None, [7, 8], [4, 4]])),
        }
        if draw(st.booleans()):
            node["buy"] = {"cost": draw(st.integers(2, 9))}
        if node["cost"] is not None:
            node["cost_max_nodes"] = draw(st.sampled_from([None, 1, 2]))
        node_types[t] = node
    workloads = [draw(_workload(f"w{n}", node_types)) for n in range(draw(st.integers(1, 3)))]
    limits = {}
    if limited:
        limits = {
            "cost": draw(st.sampled_from([None, None, 6, 15])),
            "power": draw(st.sampled_from([None, None, 4, 10])),
            "nodes": draw(st.sampled_from([None, None, 2, 4])),
            "capex": draw(st.sampled_from([None, None, 0, 8])),
        }
    return Problem.model_validate({"node_types": node_types, "workloads": workloads, "limits": limits})


@st.composite
def _workload(draw: st.DrawFn, name: str, node_types: dict[str, Any]) -> dict[str, Any]:
    mode = draw(st.sampled_from(["one", "one", "replicas"]))
    columns = []
    for n in range(draw(st.integers(1, 3 if mode == "one" else 2))):
        t = draw(st.sampled_from(sorted(node_types)))
        column = {"id": f"c{n}", "node": t, "gpus": draw(st.sampled_from([1, 2, 3, 4])), "ram": draw(st.integers(0, 5))}
        is_cut = bool(node_types[t]["slices"]) and draw(st.integers(0, 2)) == 0
        if is_cut:
            column |= {"gpus": 1, "ram": 0, "slices": draw(st.sampled_from([[1, 1], [2, 2], [3, 4], [4, 4]]))}
        if mode == "one":
            column["replicas"] = draw(st.integers(1, 3))
            if not is_cut and draw(st.integers(0, 5)) == 0:
                whole = node_types[t]["gpus"]
                column |= {"nodes": 2, "gpus": 2 * whole, "ram": node_types[t]["ram"] or 0}
        else:
            column["rate"] = draw(st.sampled_from([1, 1.5, 2, 0.7]))
        columns.append(column)
    workload = {"id": name, "mode": mode, "columns": columns, "times": draw(st.sampled_from([None, None, [0], [1]]))}
    return workload if mode == "one" else workload | {"demand": draw(st.sampled_from([1, 2.1, 3]))}

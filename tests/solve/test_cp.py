"""The thin layer over CP-SAT against the Python layer that ortools ships."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from ortools.sat.python import cp_model

from planner.solve import cp

LAYERS = (cp, cp_model)


def written(layer: Any) -> str:
    """The model that a layer writes for every kind of question that the rules ask."""
    m = layer.CpModel()
    nodes = m.new_int_var(2, 40, "nodes")
    first, second = m.new_bool_var("first"), m.new_bool_var("second")
    m.add_exactly_one([first, second]).with_name("served")
    m.add_exactly_one(v for v in (first, second))
    m.add(layer.LinearExpr.weighted_sum([first, second, first], [3, -4, 2]) + 5 <= 8 * nodes).with_name("fits")
    m.add(nodes - 2 * first == 7)
    m.add(layer.LinearExpr.weighted_sum([], []) <= 1).with_name("empty")
    m.add(True)
    m.add(False).with_name("never")
    m.add_hint(nodes, 9)
    m.add_hint(first, True)
    m.minimize(layer.LinearExpr.weighted_sum([nodes, second], [11, 6]) + 13)
    return str(m.proto)


def test_both_layers_write_the_same_model() -> None:
    ours, theirs = map(written, LAYERS)
    assert "scaling_factor" in ours
    assert ours == theirs


@pytest.mark.parametrize("terms", [[], [(5, 0)], [(-2, 1), (5, 0), (5, 0)]])
@pytest.mark.parametrize("constant", [0, -3])
def test_both_layers_write_the_same_objective_however_often_it_is_asked(
    terms: list[tuple[int, int]], constant: int
) -> None:
    texts = []
    for layer in LAYERS:
        m: Any = layer.CpModel()
        v = [m.new_int_var(0, 9, name) for name in "ab"]
        m.minimize(v[0] + 1)
        m.minimize(layer.LinearExpr.weighted_sum([v[n] for _, n in terms], [c for c, _ in terms]) + constant)
        texts.append(str(m.proto))
    assert texts[0] == texts[1]


def test_both_layers_find_the_same_answer_and_bound() -> None:
    found = []
    for layer in LAYERS:
        m: Any = layer.CpModel()
        x, y = m.new_int_var(0, 10, "x"), m.new_int_var(0, 10, "y")
        m.add(3 * x + 2 * y >= 12)
        m.minimize(2 * x + y)
        solver: Any = layer.CpSolver()
        solver.parameters.num_workers = 1
        assert solver.solve(m) == layer.OPTIMAL
        found.append((list(solver.response_proto.solution), solver.best_objective_bound))
    assert found[0] == found[1] == ([0, 6], 6.0)


def test_a_search_that_has_not_been_started_has_no_answer() -> None:
    with pytest.raises(RuntimeError, match="nothing has been asked"):
        _ = cp.CpSolver().response_proto


def test_planning_does_not_load_pandas() -> None:
    code = "import sys, planner.plan.build, planner.solve.solver; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

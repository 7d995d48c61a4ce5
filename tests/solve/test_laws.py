"""Laws that hold whatever the problem: nothing is said about the answer itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.solve.instance import prepare
from planner.solve.mip import least
from planner.solve.objective import level, make_all_small, make_small, scale_of
from planner.solve.problem import NodeType, Problem, problem_json
from planner.solve.search import Effort, ask, build_model
from planner.solve.solution import Solution, solution_json
from planner.solve.solver import solve
from tests.solve.examples import column, node, problem
from tests.solve.strategies import small_problems

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BIG = problem(
    {"a": node(gpus=8, cost=23, power=10), "b": node(gpus=4, cost=12, power=5), "c": node(gpus=1, cost=4, power=1)},
    {
        f"w{n}": [
            column("x", "a", gpus=1 + n % 4, replicas=1 + n % 3),
            column("y", "b", gpus=1 + n % 2, replicas=1 + n % 4),
            column("z", "c", gpus=1, replicas=2 + n % 5),
        ]
        for n in range(12)
    },
)


def measured(s: Solution) -> tuple[int, ...] | None:
    return None if s.status == "infeasible" else (s.objective["cost"], s.objective["power"], s.objective["nodes"])


@QUICK
@given(small_problems())
def test_a_useless_node_type_changes_nothing(p: Problem) -> None:
    more = p.model_copy(update={"node_types": {**p.node_types, "zz": NodeType(gpus=1, cost=1)}})
    assert measured(solve(more)) == measured(solve(p))


@QUICK
@given(small_problems(limited=False))
def test_prices_times_ten_cost_ten_times_as_much(p: Problem) -> None:
    def dearer(n: NodeType) -> NodeType:
        buy = n.buy.model_copy(update={"cost": n.buy.cost * 10}) if n.buy else None
        cost = None if n.cost is None else n.cost * 10
        return n.model_copy(update={"cost": cost, "opex": n.opex * 10, "buy": buy})

    before = measured(solve(p))
    after = measured(solve(p.model_copy(update={"node_types": {t: dearer(n) for t, n in p.node_types.items()}})))
    assert (before is None) == (after is None)
    assert before is None or after is None or after == (before[0] * 10, *before[1:])


@QUICK
@given(small_problems(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(p: Problem, random: Random) -> None:
    shuffle = random.shuffle
    workloads = []
    for w in p.workloads:
        columns = list(w.columns)
        shuffle(columns)
        workloads.append(w.model_copy(update={"columns": tuple(columns)}))
    shuffle(workloads)
    types = list(p.node_types.items())
    shuffle(types)
    other = solve(p.model_copy(update={"workloads": tuple(workloads), "node_types": dict(types)}))
    same = solve(p)
    assert other.model_copy(update={"wall_s": 0.0}) == same.model_copy(update={"wall_s": 0.0})


@QUICK
@given(small_problems())
def test_a_relaxed_limit_never_costs_more(p: Problem) -> None:
    before = measured(solve(p))
    free = p.model_copy(update={"limits": p.limits.model_copy(update={"power": None, "nodes": None, "capex": None})})
    after = measured(solve(free))
    assert before is None or (after is not None and after[0] <= before[0])


@QUICK
@given(small_problems())
def test_a_workload_less_never_costs_more(p: Problem) -> None:
    if len(p.workloads) < 2:
        return
    before, after = measured(solve(p)), measured(solve(p.model_copy(update={"workloads": p.workloads[1:]})))
    assert before is None or (after is not None and after[0] <= before[0])


@QUICK
@given(small_problems())
def test_another_solver_finds_the_same_cost(p: Problem) -> None:
    i = prepare(p, prune=False)
    if not all(i.ways[w.id] for w in i.workloads):
        return
    m, x = build_model(i)
    cost = make_small("cost", i, x, m)
    found = least(m)
    solution = solve(p)
    if found.is_infeasible:
        assert solution.status == "infeasible"
    else:
        assert found.bound is not None
        assert int(found.bound) * scale_of(cost) + cost.constant == solution.objective["cost"]


@QUICK
@given(small_problems())
def test_ways_left_out_beforehand_change_no_measure(p: Problem) -> None:
    """Prepared with every way, the problem has the same least cost, power and nodes."""
    i = prepare(p, prune=False)
    if not all(i.ways[w.id] for w in i.workloads):
        return
    m, x = build_model(i)
    levels = tuple(level(name, i, x, m) for name in ("cost", "power", "nodes"))
    make_all_small(levels, m)
    answer = ask(m, Effort())
    pruned = measured(solve(p))
    assert answer.is_feasible is (pruned is not None)
    assert pruned is None or tuple(answer.value(found.measured) for found in levels) == pruned


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(problem_json(BIG), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from planner.solve.problem import read_problem; "
        "from planner.solve.solver import solve; from planner.solve.solution import solution_json; "
        "s = solve(read_problem(Path(sys.argv[1]))); print(solution_json(s.model_copy(update={'wall_s': 0.0})))"
    )
    texts = []
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "TZ": f"Etc/GMT+{seed}"}
        run = subprocess.run([sys.executable, "-c", code, str(path)], env=env, capture_output=True, check=True)
        texts.append(run.stdout)
    assert texts[0] == texts[1]
    assert b'"optimal"' in texts[0]


def test_a_time_limit_is_kept_with_a_bound_or_named() -> None:
    solution = solve(BIG, deterministic_limit=0.02)
    assert solution.status in ("optimal", "feasible")
    assert solution.bound is not None
    assert solution.bound <= solution.objective["cost"]
    assert (solution.gap == 0) is (solution.status == "optimal")
    assert solution_json(solution)

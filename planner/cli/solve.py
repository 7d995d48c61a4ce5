"""`plan solve`: the optimiser alone, on a problem of one's own candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.cli.console import answer, table
from planner.cli.options import Json
from planner.errors import InfeasibleError, MismatchError

if TYPE_CHECKING:
    from planner.solve.solution import Solution


def solve(
    problem: Annotated[Path, typer.Argument(metavar="PROBLEM", help="A problem file, planner/problem/v1.")],
    json: Json = False,
    verify: Annotated[
        Path | None, typer.Option("--verify", metavar="SOLUTION", help="Check this solution instead of solving.")
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option("--time-limit", metavar="S", min=0.1, help="Seconds the optimiser may take.")
    ] = None,
) -> None:
    """Solve a ready-made problem.

    Or check a solution of it; the format is `plan schema problem`.
    """
    from planner.solve.problem import read_problem

    asked = read_problem(problem)
    if verify is not None:
        from planner.solve.solution import read_solution
        from planner.solve.verify import verify as check_solution

        wrong = check_solution(asked, read_solution(verify))
        if wrong:
            raise MismatchError("\n".join([f"{verify}: not a solution of {problem}:", *wrong]))
        answer(f"{verify}: a solution of {problem}, every figure checked")
        return
    from planner.solve.solution import solution_json
    from planner.solve.solver import solve as solve_problem

    solution = solve_problem(asked, time_limit_s=time_limit)
    answer(solution_json(solution) if json else solution_text(solution))
    if solution.status == "infeasible":
        raise InfeasibleError(f"no solution exists; these cannot hold together: {', '.join(solution.conflict)}")


def solution_text(solution: Solution) -> str:
    """The solution for people: what was proven, the fleet, what runs where."""
    if solution.status == "infeasible":
        also = {True: " together with the others", False: ""}
        ways = [
            f"with {r.limit} {r.value}{also[r.together]} there is one; it costs {r.cost}" for r in solution.relaxations
        ]
        return "\n".join(["infeasible", *ways])
    figures = ", ".join(f"{name} {value}" for name, value in solution.objective.items())
    proven = "proven optimal" if solution.status == "optimal" else f"best so far, gap {solution.gap}"
    fleet = [{"node": node, "nodes in each period": list(counts)} for node, counts in solution.nodes.items()]
    runs = [
        {"workload": name, "column": a.column, "replicas": a.replicas, "period": a.period}
        for name, assignments in solution.assignments.items()
        for a in assignments
    ]
    return "\n\n".join([f"{proven}: {figures}", table(fleet), table(runs)])

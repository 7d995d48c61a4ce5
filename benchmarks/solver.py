"""Problems of every family, drawn from seeds and solved: `python benchmarks/solver.py [--seeds 1,2] [--only NAME]`.

Prints size, status, gap and seconds, preparing and checking included, beside what the family may take on two idle
cores. Seconds of processor time stand beside wall time, for machines that do other work as well.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.instances import FAMILIES, Family
from planner.errors import NoPlanInTimeError
from planner.solve.solver import solve


def measure(family: Family, seed: int, time_limit_s: float | None) -> tuple[str, bool]:
    """One line of the table, and whether the answer is proven and in time."""
    problem = family.draw(seed)
    columns = sum(len(w.columns) for w in problem.workloads)
    size = f"{len(problem.workloads):>4} {columns:>7,} {len(problem.node_types):>3} {problem.periods:>3}"
    wall, busy = time.perf_counter(), time.process_time()
    try:
        solution = solve(problem, time_limit_s=time_limit_s)
    except NoPlanInTimeError:
        status, gap, value = "none", "-", "-"
    else:
        status = solution.status
        gap = "-" if solution.gap is None else f"{solution.gap:.3%}"
        value = str(solution.objective.get(problem.objective[0], "+".join(solution.conflict)))
    wall, busy = time.perf_counter() - wall, time.process_time() - busy
    proven = status == ("optimal" if family.is_feasible else "infeasible")
    times = f"{wall:>7.2f} {busy:>7.2f} {family.limit_s:>5.1f}"
    return (
        f"{family.name:<18} {seed:>4} {size} {status:<10} {gap:>8} {times}  {value}",
        proven and wall <= family.limit_s,
    )


def main() -> None:
    """Solve and print; exit code 1 where an answer is not proven or late."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seeds", default="1,2,3", help="numbers with commas between them")
    arguments.add_argument("--only", default="", help="part of a family's name")
    arguments.add_argument("--time-limit", type=float, default=60.0, help="seconds for one problem")
    asked = arguments.parse_args()
    print(f"{'family':<18} seed  wl. columns typ per status          gap  wall_s   cpu_s limit  value or conflict")
    late = False
    for name, family in FAMILIES.items():
        for seed in (int(s) for s in asked.seeds.split(",") if asked.only in name):
            line, is_good = measure(family, seed, asked.time_limit)
            late |= not is_good
            print(line, flush=True)
    sys.exit(1 if late else 0)


if __name__ == "__main__":
    main()

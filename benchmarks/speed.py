"""How long the commands take that people wait for: `make bench`. Prints the median of several runs in seconds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
PLAN = (sys.executable, "-c", "from planner.cli.main import main; main()")
ESTIMATE = "estimate --model llama-2-7b --mode infer --batch 1 --sequence 2048"
COMMANDS = {
    "--help": (0.3, 5),
    "check plans/company/workloads.yaml": (1.0, 3),
    f"{ESTIMATE} --gpu l4": (1.0, 3),
    ESTIMATE: (1.0, 3),
    "build plans/quickstart/workloads.yaml -o {out}": (10.0, 1),
    "build plans/company/workloads.yaml -o {out}": (5.0, 1),
}
"""Command -> seconds it may take on two cores, and how often it is run."""


def median_s(command: str, repeats: int) -> float:
    """Median wall time of a command, start of Python included."""
    taken = []
    with tempfile.TemporaryDirectory() as out:
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run([*PLAN, *command.format(out=out).split()], cwd=ROOT, check=True, capture_output=True)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    """Run every command; exit code 1 when one takes longer than it may."""
    late = False
    for command, (limit_s, repeats) in COMMANDS.items():
        taken_s = median_s(command, repeats)
        late |= taken_s > limit_s
        print(f"{taken_s:6.2f} s of {limit_s:4.1f} s  plan {command.replace(' -o {out}', '')}", flush=True)
    sys.exit(1 if late else 0)


if __name__ == "__main__":
    main()

"""A spec of a hundred workloads over the whole catalog, planned and reported: `python benchmarks/hundred.py`.

    python benchmarks/hundred.py [--workloads 100] [--seed 1] [--keep FOLDER]

Services of every size and kind of text model, embeddings, fine-tunings and full trainings, drawn from a seed over
every offer of the catalog. Each step is a process of its own: seconds (wall and of the processor, children included)
and the most memory that any of its processes held, beside what it may take on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import yaml

from planner.catalog.load import Catalog
from planner.units import GIB

ROOT = Path(__file__).parent.parent
PLAN = "from planner.cli.main import main; main()"
CANDIDATES = (
    "import sys, pathlib; from planner.catalog.load import Catalog; from planner.spec.load import load_spec;"
    "from planner.candidates.supply import build_supply; from planner.plan.build import all_candidates;"
    "loaded, catalog = load_spec(pathlib.Path(sys.argv[1])), Catalog.load();"
    "all_candidates(loaded, build_supply(loaded.spec, catalog), catalog)"
)
MEMORY_LIMIT_BYTES = 2 * GIB
LARGEST_SERVED = 150e9
LARGEST_TUNED = 40e9
LARGEST_TRAINED = 9e9
"""Parameters of the models that are served, fine-tuned and trained in full."""


def spec_of(number: int, seed: int) -> dict[str, Any]:
    """The spec: of ten workloads six serve text, one embeds, two are tuned and one is trained in full."""
    catalog = Catalog.load()
    entries = [catalog.models.entry(name) for name in catalog.models.ids()]
    size = {e.id: catalog.models.get(e.id).params_total for e in entries}
    texts = [e for e in entries if e.task == "text-generation" and size[e.id] <= LARGEST_SERVED]
    vectors = [e for e in entries if e.task == "embedding"]
    draw = random.Random(seed)
    workloads = []
    for n in range(number):
        kind = n % 10
        if kind < 6:
            workloads.append(service(f"serve-{n:03}", draw.choice(texts), draw))
        elif kind == 6:
            workloads.append(embedding(f"embed-{n:03}", draw.choice(vectors), draw))
        else:
            most = LARGEST_TUNED if kind < 9 else LARGEST_TRAINED
            able = [e for e in texts if size[e.id] <= most]
            workloads.append(training(f"train-{n:03}", draw.choice(able), draw, full=kind == 9))
    return {"version": 1, "name": f"fleet-of-{number}", "horizon": {"months": 24}, "workloads": workloads}


def service(name: str, model: Any, draw: random.Random) -> dict[str, Any]:
    """Text for users: short answers to prompts that the model's context holds."""
    longest = min(model.max_context or 2048, 8192)
    return {
        "name": name,
        "model": model.id,
        "mode": "infer",
        "engine": "vllm",
        "sequence": {"input": longest // draw.choice((2, 4, 8)), "output": longest // 16},
        "precision": draw.choice(("auto", "bf16", ["bf16", "fp8"])),
        "targets": {"requests_per_second": draw.choice((0.5, 2, 8, 30))},
    }


def embedding(name: str, model: Any, draw: random.Random) -> dict[str, Any]:
    """Vectors of passages."""
    return {
        "name": name,
        "model": model.id,
        "mode": "infer",
        "engine": "transformers",
        "sequence": {"input": min(model.max_context or 512, 512), "output": 0},
        "precision": "bf16",
        "targets": {"requests_per_second": draw.choice((20, 100, 400))},
    }


def training(name: str, model: Any, draw: random.Random, *, full: bool) -> dict[str, Any]:
    """A fine-tuning, or a training of all weights."""
    return {
        "name": name,
        "model": model.id,
        "mode": "train",
        "engine": "transformers",
        "method": "full" if full else draw.choice(("lora", "qlora")),
        "sequence": min(model.max_context or 2048, 2048),
        "batch": {"global": draw.choice((32, 64))},
        "targets": {"tokens": draw.choice((2.0e7, 1.0e8)), "deadline_hours": 168},
    }


@dataclass(frozen=True, slots=True)
class Taken:
    """What one process took, its children included."""

    wall_s: float
    busy_s: float
    peak_bytes: int
    code: int
    told: str


def run(command: Sequence[str]) -> Taken:
    """Run a command to its end."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as told:
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=told)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        message = told.read().decode(errors="replace")
    kib = usage.ru_maxrss
    return Taken(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, kib * 1024, child.returncode, message)


def steps(spec: Path, out: Path) -> Iterator[tuple[str, float, Sequence[str]]]:
    """What is timed: its name, the seconds it may take, the command."""
    plan = [sys.executable, "-c", PLAN]
    yield "candidates", 5.0, [sys.executable, "-c", CANDIDATES, str(spec)]
    yield "build, json", 20.0, [*plan, "build", str(spec), "-o", str(out), "--format", "json"]
    yield "report, html and pdf", 15.0, [*plan, "report", str(out / "plan.json"), "-o", str(out)]


def measure(folder: Path, number: int, seed: int) -> bool:
    """Write the spec, run every step and print; False where one failed or took more than it may."""
    spec = folder / "workloads.yaml"
    spec.write_text(yaml.safe_dump(spec_of(number, seed), sort_keys=False))
    good = True
    print(f"{'step':<22} wall_s  cpu_s limit_s  peak_GiB")
    for name, limit_s, command in steps(spec, folder):
        taken = run(command)
        late = taken.wall_s > limit_s or taken.peak_bytes > MEMORY_LIMIT_BYTES
        good &= taken.code == 0 and not late
        times = f"{taken.wall_s:6.2f} {taken.busy_s:6.2f} {limit_s:7.1f}"
        print(f"{name:<22} {times} {taken.peak_bytes / GIB:9.2f}", flush=True)
        if taken.code:
            print(taken.told)
            return False
    plan = json.loads((folder / "plan.json").read_text())
    solver = plan["solver"]
    print(f"{number} workloads, {solver['candidates']:,} ways kept, {plan['status']}, gap {solver['gap']}")
    return good


def main() -> None:
    """Measure; exit code 1 where a step failed or took more than it may."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--workloads", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--keep", type=Path, help="folder for the spec, the plan and its reports")
    asked = arguments.parse_args()
    if asked.keep is not None:
        asked.keep.mkdir(parents=True, exist_ok=True)
        sys.exit(0 if measure(asked.keep.resolve(), asked.workloads, asked.seed) else 1)
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if measure(Path(folder), asked.workloads, asked.seed) else 1)


if __name__ == "__main__":
    main()

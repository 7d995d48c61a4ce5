"""The child: replays one trial with torch and leaves its result as a JSON file.

    python -m validation.worker TRIAL.json RESULT.json --device cuda|cpu

What can go wrong inside the framework is told as a state (`oom`, `unsupported`, `error`); what ends the process is the
supervisor's to judge. Under torchrun every rank runs this; the first one writes, and any that fails.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from validation.device import BusyError, device_of
from validation.formats import UnsupportedError
from validation.models import ModelError
from validation.trial import Trial, trial_of

PACKAGES = ("torch", "transformers", "accelerate", "peft", "bitsandbytes", "torchao", "flash_attn", "vllm", "sglang")
FAULTS = (
    *(RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, ImportError, NotImplementedError),
    *(AssertionError, OSError, ArithmeticError),
)
"""What the model libraries raise where something is wrong with a configuration or with themselves."""


def versions() -> dict[str, str]:
    """Versions of what takes part, by name."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def run(trial: Trial, *, kind: str, work: Path, force: bool = False) -> dict[str, Any]:
    """Replay the trial on a device of that kind; of one that ran out of memory, what each phase held till then."""
    import torch

    from validation import infer, train

    if not trial.model:
        raise UnsupportedError("the plan holds no keys to build this model from: its family is not written as a config")
    if trial.tiny:
        torch.set_num_threads(1)  # nothing this small gains from threads, and waiting ones cost the machine's others
    stages = trial.number("pipeline_parallel") if trial.mode == "infer" else 1
    device = device_of(kind, index=int(os.environ.get("LOCAL_RANK", "0")), count=stages)
    if not force:
        device.refuse_company()
    emulated = device.prepare(emulate_bytes=trial.emulate_bytes)
    replay = infer.replay if trial.mode == "infer" else train.replay
    try:
        result = replay(trial, device, work)
    except torch.OutOfMemoryError as err:
        result = {"state": "oom", "detail": first_line(err)}
    result["phases"] = device.phases
    result["device"] = device.facts()
    if emulated:
        result["emulated"] = emulated
    return result


def attempt(trial: Trial, *, kind: str, work: Path, force: bool = False) -> dict[str, Any]:
    """The result of the trial, or what kept it from having one."""
    import torch

    try:
        return run(trial, kind=kind, work=work, force=force)
    except torch.OutOfMemoryError as err:
        return {"state": "oom", "detail": first_line(err), "phases": {}}
    except BusyError as err:
        return {"state": "busy", "detail": f"{err}; wait, or start with --force"}
    except (UnsupportedError, ModelError) as err:
        return {"state": "unsupported", "detail": str(err)}
    except FAULTS as err:
        if "DefaultCPUAllocator" in str(err):  # says nothing of the device, which alone a plan's "fits" is about
            return {"state": "no-memory", "detail": f"host memory: {first_line(err)}"}
        if "out of memory" in str(err).casefold():
            return {"state": "oom", "detail": first_line(err)}
        traceback.print_exc()
        return {"state": "error", "detail": f"{type(err).__name__}: {first_line(err)}"}


def first_line(err: BaseException) -> str:
    """The first line of an error's text."""
    return (str(err).splitlines() or [type(err).__name__])[0][:500]


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Leave the result whole or not at all."""
    part = path.with_suffix(f".{os.environ.get('RANK', '0')}.part")
    part.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    part.replace(path)


def main() -> None:
    """Read the trial, run it, write the result."""
    parser = argparse.ArgumentParser(
        prog="python -m validation.worker", description="Replay one trial in this process."
    )
    parser.add_argument("trial", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--force", action="store_true", help="although others hold memory of the card")
    asked = parser.parse_args()
    trial = trial_of(json.loads(asked.trial.read_text(encoding="utf-8")))
    result = attempt(trial, kind=asked.device, work=asked.result.parent, force=asked.force)
    result |= {"versions": versions()}
    rank, alone = int(os.environ.get("RANK", "0")), os.environ.get("WORLD_SIZE", "1") == "1"
    failed = result["state"] != "ok"
    if rank == 0 or failed:
        write_result(asked.result, result)
    if failed and not alone:  # the other ranks wait in a collective; torchrun ends them once this one is gone
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


if __name__ == "__main__":
    main()
    sys.stdout.flush()

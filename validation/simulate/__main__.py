"""`python -m validation.simulate`: memory of a workload without a GPU, as JSON.

python -m validation.simulate CASE...                  each a JSON or YAML file with a workload of a spec, `model`
                                                       being the keys of its config.json; `-` reads one from stdin
python -m validation.simulate --grid SUITE -o FOLDER   all cases of a suite, as records
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from validation.models import ModelError
from validation.simulate import grid
from validation.simulate.case import CaseError
from validation.simulate.kernels import CUBLAS_WORKSPACE
from validation.simulate.tracker import DataDependentError

BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the arguments say; the exit code."""
    args = _parser().parse_args(argv)
    as_of = datetime.now(UTC).date().isoformat()
    try:
        if args.grid:
            _grid(args, as_of)
            return 0
        cases = [case for name in args.cases for case in _cases(name)]
        planned = [_planned(case, args) for case in cases]
        records = [grid.simulate(p, command=_command(), as_of=as_of, full=args.full) for p in planned]
    except (CaseError, ModelError, DataDependentError, OSError) as err:
        print(f"simulate: {err}", file=sys.stderr)
        return BAD_INPUT
    print(json.dumps([record.as_dict() for record in records], indent=1))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m validation.simulate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="file with one workload or a list of them; - for stdin"
    )
    parser.add_argument("--full", action="store_true", help="run every layer; else a deep model is run at two depths")
    parser.add_argument("--grid", type=Path, metavar="SUITE", help="run a suite of cases instead")
    parser.add_argument("-o", "--output", type=Path, default=Path("simulated"), help="folder of the suite's records")
    parser.add_argument("--only", default="", help="those of the suite whose name holds this text")
    parser.add_argument("--missing", action="store_true", help="those of the suite that have no record yet")
    parser.add_argument("--compute-capability", type=int, default=8, help="first digit; decides the cuBLAS workspace")
    parser.add_argument("--workspace-bytes", type=int, help="what libraries hold for themselves, if known better")
    return parser


def _grid(args: argparse.Namespace, as_of: str) -> None:
    for case in grid.planned(grid.load_suite(args.grid), only=args.only):
        if args.missing and grid.has_record(args.output, case):
            continue
        began = time.perf_counter()
        grid.write(args.output, case.kind, [grid.simulate(case, command=_command(), as_of=as_of)])
        print(f"{case.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)


def _cases(name: str) -> list[Mapping[str, Any]]:
    """The workloads of a file. Raises CaseError where it holds none."""
    import yaml

    text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise CaseError(f"{name}: {err}") from None
    cases = found if isinstance(found, list) else [found]
    for case in cases:
        if not isinstance(case, Mapping) or not isinstance(case.get("model"), Mapping) or "mode" not in case:
            raise CaseError(f"{name}: a case is a workload with `mode`, and `model` as the keys of a config.json")
    return cases


def _planned(workload: Mapping[str, Any], args: argparse.Namespace) -> grid.Planned:
    keys = workload["model"]
    known = CUBLAS_WORKSPACE.get(args.compute_capability, 0)
    return grid.Planned(
        name=str(workload.get("name", f"{keys.get('model_type')}-{workload['mode']}")),
        kind=str(keys.get("model_type")),
        workload=workload,
        keys=keys,
        workspace_bytes=known if args.workspace_bytes is None else args.workspace_bytes,
    )


def _command() -> str:
    return "python -m validation.simulate"


if __name__ == "__main__":
    sys.exit(main())

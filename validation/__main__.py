"""`python -m validation`: replay a plan or a suite on the device at hand, from nothing but this folder and torch."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from validation.duration import foreseen
from validation.launch import TARGETS, collect, emit
from validation.measured_lines import import_lines
from validation.record import Record, RecordError, read_records
from validation.run import Settings, failed, part_of, run_trials
from validation.suite import trials_in
from validation.summary import FILE_NAME, table, write_summary
from validation.trial import TrialError

DEFAULT_OUT = Path("validation-out")
DONE, MISMATCH, BAD_INPUT, STOPPED = 0, 1, 2, 130


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m validation",
        description="Replay a plan's chosen configuration and write measured beside predicted.",
        epilog="Exit codes: 0 every figure within its interval or unproven; 1 a mismatch; 2 bad input; 130 stopped.",
    )
    made.add_argument("plan", nargs="?", type=Path, help="plan.json, its folder, or a suite's JSON")
    made.add_argument("-o", "--out", type=Path, default=DEFAULT_OUT, metavar="DIR", help="folder for records")
    made.add_argument("--workload", metavar="NAME", help="only this workload (suites: trials with this in their name)")
    made.add_argument(
        "--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: a GPU if there is one"
    )
    made.add_argument("--part", metavar="I/N", help="the I-th of N parts of the trials")
    made.add_argument("--budget", type=float, metavar="S", help="seconds for all trials; the rest is left for later")
    made.add_argument("--time-limit", type=float, metavar="S", help="seconds for each trial")
    made.add_argument("--force", action="store_true", help="start although others use the card")
    made.add_argument("--again", action="store_true", help="run trials that have a record already, too")
    made.add_argument("--no-emulation", action="store_true", help="leave a larger card as it is")
    made.add_argument("--gguf", type=Path, metavar="FILE", help="model file for llama.cpp; default: random weights")
    made.add_argument("--emit", choices=TARGETS, help="write jobs for a cluster instead of running")
    made.add_argument("--collect", type=Path, metavar="DIR", help="make records of what emitted jobs left")
    made.add_argument("--import-lines", type=Path, metavar="FILE", help="make records of raw measured JSON lines")
    made.add_argument("--dry-run", action="store_true", help="say what would be run, for how long, and stop")
    made.add_argument("--json", action="store_true", help="print the records as one JSON document")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = parser().parse_args(given)
    try:
        return run(asked, command=shlex.join(["python", "-m", "validation", *given]))
    except (TrialError, RecordError) as err:
        print(f"validation: {err}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        say("stopped; what was measured is kept: run again to go on")
        return STOPPED


def run(asked: argparse.Namespace, *, command: str) -> int:
    """Do what was asked; returns the exit code. Raises TrialError and RecordError for what a user can mend."""
    out: Path = asked.out
    if asked.collect is not None:
        return finish(collect(asked.collect, out), out, as_json=asked.json)
    if asked.import_lines is not None:
        return finish(import_lines(asked.import_lines, out), out, as_json=asked.json)
    if asked.plan is None:
        raise TrialError("name a plan.json or a suite; --help shows all options")
    trials = part_of(trials_in(asked.plan, only=asked.workload), asked.part)
    if asked.dry_run:
        print("\n".join(foreseen(trials)))
        return DONE
    if asked.emit is not None:
        for path in emit(trials, asked.emit, out):
            say(f"wrote {path}")
        return DONE
    settings = Settings(
        out=out,
        device=asked.device,
        force=asked.force,
        emulate=not asked.no_emulation,
        budget_s=asked.budget,
        time_limit_s=asked.time_limit,
        gguf=asked.gguf,
        again=asked.again,
        command=command,
        say=say,
    )
    return finish(run_trials(trials, settings), out, as_json=asked.json)


def say(text: str) -> None:
    """Talk goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def finish(records: Sequence[Record], out: Path, *, as_json: bool) -> int:
    """Print the records, write the summary, and say by the exit code whether all is as predicted."""
    measured = [r for r in read_records(out) if r.origin == "measured"] if out.is_dir() else []
    write_summary(measured or records, out)
    say(f"records and {FILE_NAME} are in {out}")
    broken = failed(records)
    if as_json:
        document = {"schema": "validation/run/v1", "records": [r.as_dict() for r in records], "mismatches": broken}
        print(json.dumps(document, ensure_ascii=False, indent=1))
    else:
        print("\n".join("  ".join(filter(None, row)) for row in table(records)))
        for name, reasons in broken.items():
            print(f"MISMATCH {name}: {'; '.join(reasons)}")
    return MISMATCH if broken else DONE


if __name__ == "__main__":
    sys.exit(main())

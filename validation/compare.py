"""Measured beside predicted: the figures of a finished trial as a record, each with its verdict.

A figure counts as `inside` or `outside` its 90 % interval only where it was measured on the planned configuration: on
a tiny model nothing predicted applies, on another GPU than the planned one memory does and speed does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from validation.record import UNIT_OF_RULE, Outcome, Quantity, Record, Source, judged
from validation.supervise import Finished
from validation.trial import Trial
from validation.units import shown

SPEED_RULES = frozenset({"output_rate", "token_rate", "request_rate", "ttft", "tpot", "step", "mfu", "power"})
MEMORY_STATES = ("ok", "oom")
RAN_OUT = ("oom",)
REPLAY = Source(name="replay of a planned configuration", note="random weights; see validation/README.md")


def record_of_trial(trial: Trial, finished: Finished, environment: Mapping[str, Any], *, same_gpu: bool) -> Record:
    """The record of a finished trial."""
    result = finished.result
    emulated = emulation(trial, result, same_gpu=same_gpu)
    details = {
        "trial_sha256": trial.digest,
        "group": trial.group,
        "engine": trial.engine,
        "config": dict(trial.config),
        "phases": result.get("phases") or {},
        "clocks": result.get("clocks") or {},
        "not_compared": not_compared(trial, result, same_gpu=same_gpu),
        **(result.get("details") or {}),
    }
    return Record(
        id=trial.id,
        origin="measured",
        source=REPLAY,
        environment=environment,
        workload=trial.workload,
        quantities=quantities(trial, result, finished.outcome, same_gpu=same_gpu),
        outcome=finished.outcome,
        emulated=emulated,
        details={key: value for key, value in details.items() if value not in ({}, "", None)},
    )


def emulation(trial: Trial, result: Mapping[str, Any], *, same_gpu: bool) -> dict[str, Any] | None:
    """What stood for something else, or None where the planned configuration itself was run."""
    if trial.tiny:
        stood = {
            "model": "a tiny model of the same family on a CPU: shows that the replay runs, measures nothing planned"
        }
        return (
            stood if trial.engine == "transformers" else {**stood, "engine": f"transformers stood for {trial.engine}"}
        )
    said = dict(result.get("emulated") or {})
    if trial.emulate_bytes is not None:
        said |= {"gpu": trial.gpu, "memory": "a ballast and a cap on the allocator make the card look smaller"}
    elif not same_gpu:
        said |= {"gpu": trial.gpu, "speed": "not the planned GPU: only memory is compared"}
    return said or None


def quantities(trial: Trial, result: Mapping[str, Any], outcome: Outcome, *, same_gpu: bool) -> tuple[Quantity, ...]:
    """Every figure measured or predicted, in the order of `UNIT_OF_RULE`, and whether it fitted."""
    measured: dict[str, float | None] = dict(result.get("measured") or {})
    if same_gpu and not trial.tiny:
        measured |= mfu_of(trial, measured)
    clocks = result.get("clocks") or {}
    if "power_w" in clocks:
        measured["power"] = clocks["power_w"]
    for rule in not_compared(trial, result, same_gpu=same_gpu):
        del measured[rule]
    found = []
    for rule, unit in UNIT_OF_RULE.items():
        expected = trial.expected.get(rule)
        if not (same_gpu or trial.tiny) and rule in SPEED_RULES:
            continue
        if rule == "fits" or (expected is None and measured.get(rule) is None):
            continue
        value = measured.get(rule)
        comparable = not trial.tiny and (same_gpu or rule not in SPEED_RULES)
        predicted = expected.predicted if expected is not None and comparable else None
        interval = expected.interval if expected is not None and comparable else None
        verdict = judged(value, interval)
        found.append(
            Quantity(rule=rule, measured=value, unit=unit, predicted=predicted, interval=interval, verdict=verdict)
        )
    fitted = fits_quantity(trial, outcome)
    return (*found, fitted) if fitted is not None else tuple(found)


def not_compared(trial: Trial, result: Mapping[str, Any], *, same_gpu: bool) -> dict[str, float | None]:
    """Speeds of another GPU than the planned one: kept, and no figures of the planned configuration."""
    if same_gpu or trial.tiny:
        return {}
    return {rule: value for rule, value in (result.get("measured") or {}).items() if rule in SPEED_RULES}


def fits_quantity(trial: Trial, outcome: Outcome) -> Quantity | None:
    """Did it fit, as predicted? A "fits" that ran out of memory is the worst error there is."""
    if trial.fits is None or trial.tiny or outcome.state not in MEMORY_STATES:
        return None
    fitted = outcome.state not in RAN_OUT
    return Quantity(
        rule="fits",
        measured=float(fitted),
        unit="1",
        predicted=float(trial.fits),
        interval=(float(trial.fits), float(trial.fits)),
        verdict="inside" if fitted == trial.fits else "outside",
    )


def mfu_of(trial: Trial, measured: Mapping[str, float | None]) -> dict[str, float | None]:
    """Share of the peak, from the FLOP the plan counted for the same work: predicted share x predicted / measured time.

    Training takes the step, inference the rate of requests.
    """
    share = trial.expected.get("mfu")
    rule = "step" if trial.mode == "train" else "request_rate"
    planned, seen = trial.expected.get(rule), measured.get(rule)
    if share is None or planned is None or not seen:
        return {}
    faster = planned.predicted / seen if rule == "step" else seen / planned.predicted
    return {"mfu": share.predicted * faster}


def is_planned_gpu(planned: str, found: str) -> bool:
    """Whether the card's own name is that of the planned catalog id: its model, its form and, where told, its memory.

    >>> is_planned_gpu("h200-sxm-141gb", "NVIDIA H200"), is_planned_gpu("h200-nvl-141gb", "NVIDIA H200")
    (True, False)
    >>> is_planned_gpu("h100-sxm-80gb", "NVIDIA H100 80GB HBM3"), is_planned_gpu("l4", "NVIDIA L40S")
    (True, False)
    """
    asked, seen = words(planned), words(found)
    sizes = [{w for w in named if SIZE.fullmatch(w)} for named in (asked, seen)]
    if all(sizes) and not sizes[0] & sizes[1]:
        return False
    forms = [next((form for form in FORMS if any(w.startswith(form) for w in named)), "") for named in (asked, seen)]
    if forms[0] and forms[0] != (forms[1] or UNTOLD_FORM):
        return False
    model = {w for w in asked - MAKERS if not SIZE.fullmatch(w) and not w.startswith(FORMS)}
    return bool(model) and model <= seen


SIZE = re.compile(r"\d+gi?b")
FORMS = ("sxm", "pcie", "nvl", "oam")
UNTOLD_FORM = "sxm"
"""What a data-centre card is whose name tells no form (`NVIDIA H200`, `NVIDIA H100 80GB HBM3`)."""
MAKERS = frozenset({"nvidia", "geforce", "tesla", "amd", "instinct"})


def words(name: str) -> set[str]:
    """Words of a GPU's name.

    >>> sorted(words("NVIDIA RTX-4090 24GB"))
    ['24gb', '4090', 'nvidia', 'rtx']
    """
    return {w for w in re.split(r"[^a-z0-9]+", name.casefold()) if w}


def failures(record: Record) -> list[str]:
    """Why a record makes the run fail: figures outside their interval, and trials that broke."""
    found = [
        f"{q.rule}: measured {shown(q.measured, q.unit)}, predicted {shown(q.predicted, q.unit)}, "
        f"interval {shown(q.interval[0], q.unit)} to {shown(q.interval[1], q.unit)}"
        for q in record.quantities
        if q.verdict == "outside" and q.interval is not None
    ]
    state = record.outcome.state if record.outcome else "ok"
    if state in ("crashed", "timeout", "garbage", "error"):
        assert record.outcome is not None
        found.append(f"{state}: {record.outcome.detail}")
    fits = record.quantity("fits")
    if state == "oom" and fits is None:
        assert record.outcome is not None
        found.append(f"oom: {record.outcome.detail}")
    return found

"""A suite of cases, written once for many models, and the records made of it.

gpu: a100-sxm-80gb
compute_capability: 8
models:
  meta-llama/Llama-3.2-1B: {model_type: llama, ...}      # config.json keys, under the catalog's name
groups:
  - models: [meta-llama/Llama-3.2-1B]
    base: {mode: train, sequence: 1024, ...}             # what a workload of a spec says
    vary: {precision: [bf16, bf16-mixed], batch: [...]}  # every combination of these
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from validation.record import Record, read_records, write_records
from validation.simulate.case import CaseError, case_of

ENGINE = "transformers"
WIDTHS = {"data_parallel": "ranks", "tensor_parallel": "split"}
"""What names call the ranks of a case."""
CONSTANT = "length_variation"
"""An option that all cases share and that stands in no name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One case of a suite."""

    name: str
    kind: str
    """The model's type: the file its record goes to."""
    workload: Mapping[str, Any]
    keys: Mapping[str, Any]
    workspace_bytes: int
    """What libraries hold for themselves."""


def load_suite(path: Path) -> Mapping[str, Any]:
    """The suite of a YAML file. Raises CaseError where it is none."""
    import yaml

    suite = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(suite, Mapping) or not {"models", "groups", "gpu", "compute_capability"} <= suite.keys():
        raise CaseError(f"{path}: a suite has gpu, compute_capability, models and groups")
    return suite


def planned(suite: Mapping[str, Any], *, only: str = "") -> Iterator[Planned]:
    """The suite's cases; with `only`, those whose name holds the text. Raises CaseError for an unknown model."""
    from validation.simulate.kernels import CUBLAS_WORKSPACE

    workspace = CUBLAS_WORKSPACE[suite["compute_capability"]]
    seen: set[str] = set()
    for group in suite["groups"]:
        vary = group.get("vary") or {}
        for model in group["models"]:
            if model not in suite["models"]:
                raise CaseError(f"the suite has no model {model!r}")
            for values in itertools.product(*vary.values()):
                changes = dict(zip(vary, values, strict=True))
                workload = _workload(suite, model, group["base"], changes)
                name = _name(model, workload)
                if name in seen or only not in name:
                    continue
                seen.add(name)
                yield Planned(
                    name=name,
                    kind=suite["models"][model]["model_type"],
                    workload={"name": name, **workload},
                    keys=suite["models"][model],
                    workspace_bytes=workspace,
                )


def simulate(case: Planned, *, command: str, as_of: str, full: bool = True) -> Record:
    """The record of one case; unless `full`, of a deep model from shallow ones.

    Raises CaseError, ModelError or DataDependentError.
    """
    from validation.simulate.report import record_of
    from validation.simulate.run import run

    done = run(case_of(case.workload, case.keys), workspace_bytes=case.workspace_bytes, full=full)
    return record_of(done, case.workload, name=case.name, command=command, as_of=as_of)


def has_record(folder: Path, case: Planned) -> bool:
    """Whether the folder holds a record of the case."""
    path = folder / f"{case.kind}.jsonl"
    return path.exists() and any(record.id == case.name for record in read_records(path))


def write(folder: Path, kind: str, records: list[Record]) -> Path:
    """Put records into the file of their kind: those of the same id are replaced, others kept, in order of id."""
    path = folder / f"{kind}.jsonl"
    held = {record.id: record for record in (read_records(path) if path.exists() else ())}
    held |= {record.id: record for record in records}
    return write_records((held[name] for name in sorted(held)), path)


def _workload(
    suite: Mapping[str, Any], model: str, base: Mapping[str, Any], changes: Mapping[str, Any]
) -> dict[str, Any]:
    """The base with the changes laid over it; a change of `a.b` sets b inside a."""
    found: dict[str, Any] = {"model": model, "engine": ENGINE, **base, "pin": {"gpu": suite["gpu"]}}
    for key, value in changes.items():
        outer, _, inner = key.partition(".")
        found[outer] = {**(found.get(outer) or {}), inner: value} if inner else value
    return found


def _name(model: str, workload: Mapping[str, Any]) -> str:
    """A name that tells what the case is, from its settings in a fixed order.

    >>> _name("openai-community/gpt2", {"mode": "infer", "batch": 2, "sequence": {"input": 8, "output": 1}})
    'gpt2/infer-batch2-sequence8+1'
    """
    words = [workload["mode"]]
    skipped = {"name", "model", "mode", "engine", "pin"}
    options = {k: v for k, v in (workload.get("engine_options") or {}).items() if k != CONSTANT}
    workload = {**workload, "engine_options": options}
    words += [_word(key, workload[key]) for key in sorted(workload.keys() - skipped) if workload[key] != {}]
    pin = workload.get("pin") or {}
    words += [f"{word}{pin[width]}" for width, word in WIDTHS.items() if pin.get(width, 1) > 1]
    return f"{model.rpartition('/')[2].lower()}/{'-'.join(words)}"


def _word(key: str, value: Any) -> str:
    if key == "sequence" and isinstance(value, Mapping):
        return f"sequence{value['input']}+{value['output']}"
    if key == "batch" and isinstance(value, Mapping):
        return f"batch{value['global']}/{value['micro']}"
    if isinstance(value, Mapping):
        return "-".join(_word(k, v) for k, v in sorted(value.items()))
    if isinstance(value, bool):
        return key if value else f"not-{key}"
    text = "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return f"{key}{text}" if isinstance(value, (int, float)) else text

"""Published speed records as rows that evaluate fast: everything but the kernel parameters is built once.

A record is one JSON object a line (`validation/records/README.md`): a workload as pinned, and what was measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.catalog.load import Catalog
from planner.errors import ImpossibleError, InputError
from planner.estimate.request import resolve_workload
from planner.estimate.rows import InferRow, TrainRow
from planner.estimate.run import pinned_host, row_on
from planner.estimate.speed.infer import lengths_of, serve
from planner.estimate.speed.kernels import Kernels
from planner.estimate.speed.setup import infer_setup
from planner.estimate.speed.train import step_seconds, train_setup
from planner.estimate.types import Floats
from planner.estimate.work import training_work
from planner.spec.load import spec_from_mapping

Figures = Mapping[str, Floats]
SPEED_RULES = (
    "output_rate",
    "output_rate_per_gpu",
    "decode_rate",
    "static_output_rate",
    "prefill_rate",
    "ttft",
    "tpot",
    "end_to_end",
    "train_rate",
    "train_rate_per_gpu",
    "step",
    "mfu",
    "flop_rate",
)
THROUGHPUT = ("output_rate", "output_rate_per_gpu", "static_output_rate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measured figure of one source beside the configuration that gave it."""

    id: str
    source: str
    rule: str
    value: float
    run: InferRow | TrainRow

    @property
    def kind(self) -> str:
        """The kind of figure that errors are reported by."""
        if isinstance(self.run, TrainRow):
            return "training"
        job = self.run.job
        if self.rule in THROUGHPUT:
            return "throughput"
        if self.rule == "prefill_rate" or (self.rule == "ttft" and job.output_tokens <= 1):
            return "prefill"
        return {"decode_rate": "decode", "end_to_end": "latency"}.get(self.rule, self.rule)

    @property
    def sweep(self) -> tuple[str, ...]:
        """Figures of one sweep: the same model on the same kind of GPU, by the same source and rule."""
        return (self.source, self.run.job.model.id, str(self.run.hw.gpu[0]), self.rule)


def read_records(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """The records of all files, in order."""
    for path in sorted(paths):
        with path.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.strip())


def measured_rows(records: Iterable[dict[str, Any]], catalog: Catalog) -> tuple[list[Measured], dict[str, str]]:
    """The speed figures of the records, and by record why the others have none here."""
    rows: list[Measured] = []
    left_out: dict[str, str] = {}
    runs: dict[str, InferRow | TrainRow] = {}
    for record in records:
        wanted = [q for q in record["quantities"] if q["rule"] in SPEED_RULES]
        if not wanted:
            continue
        key = json.dumps(record["workload"], sort_keys=True)
        try:
            if key not in runs:
                runs[key] = run_of(record["workload"], catalog)
        except (InputError, ImpossibleError) as error:
            left_out[record["id"]] = str(error)
            continue
        for quantity in wanted:
            value, rule = float(quantity["measured"]), quantity["rule"]
            if rule == "flop_rate":
                value, rule = value / record["details"]["given"]["flop_per_token"], "train_rate_per_gpu"
            source = record["source"]["name"]
            rows.append(Measured(id=record["id"], source=source, rule=rule, value=value, run=runs[key]))
    return rows, left_out


def run_of(workload: Mapping[str, Any], catalog: Catalog) -> InferRow | TrainRow:
    """The configuration of a pinned workload. Raises InputError or ImpossibleError."""
    spec = spec_from_mapping({"version": 1, "fleet": {"memory_headroom": 0.0}, "workloads": [dict(workload)]})
    entry = spec.workloads[0]
    host = pinned_host(entry, catalog)
    if host is None:
        raise InputError(f"{entry.name}: a record pins its GPU")
    return row_on(resolve_workload(entry, spec, catalog), host, catalog)


def figures(run: InferRow | TrainRow, kernels: Kernels) -> Figures:
    """Every figure a rule may ask of one configuration; as many entries as the parameters have variants."""
    return infer_figures(run, kernels) if isinstance(run, InferRow) else train_figures(run, kernels)


def infer_figures(run: InferRow, kernels: Kernels) -> Figures:
    """Rates and latencies of one replica."""
    setup = infer_setup(run.job, run.ways, run.hw, kernels)
    lengths = lengths_of(run.job)
    served = serve(setup, run.ways, lengths, kv_slots=run.memory.max_batch).served
    batch = float(run.ways.batch[0])
    later = max(0, run.job.output_tokens - 1)
    output_rate = served.requests_per_second * run.ways.data_parallel * lengths.new_tokens
    whole_s = served.ttft_s + (later * served.tpot_s if later else 0.0)
    return {
        "output_rate": output_rate,
        "output_rate_per_gpu": output_rate / run.ways.gpus,
        "decode_rate": batch / served.tpot_s,
        "static_output_rate": batch * run.job.output_tokens / whole_s,
        "prefill_rate": run.job.input_tokens * batch / served.ttft_s,
        "ttft": served.ttft_s,
        "tpot": served.tpot_s,
        "end_to_end": whole_s,
    }


def train_figures(run: TrainRow, kernels: Kernels) -> Figures:
    """Rates of one optimizer step."""
    job = run.job
    step_s = step_seconds(train_setup(job, run.ways, run.hw, kernels)).total_s
    rate = job.global_batch * job.sequence_tokens / step_s
    work = training_work(job.model, job.sequence_tokens, checkpointing=job.checkpointing, lora=job.lora)
    peak = run.hw.peak_flop_per_second * run.ways.gpus
    return {
        "step": step_s,
        "train_rate": rate,
        "train_rate_per_gpu": rate / run.ways.gpus,
        "mfu": work.model_flop * job.global_batch / (step_s * peak),
    }

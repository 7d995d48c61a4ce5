"""From measurements to a calibration: factors on the shipped efficiencies of one GPU, and the errors before and after.

From microbenchmarks every operation is predicted by its own formula, and a factor is the median of predicted over
measured among the operations that it decides. From records the seconds by cause of each prediction are taken, and
factors are found that make them add up to what was measured (least squares, held near 1 by a prior, so that few records
move them little). What a record says of an emulated card or a small model does not count.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from planner.accuracy.bounds import Cause, cause_of
from planner.catalog.calibration import Calibration, Factors, Scores, calibrated, calibrated_catalog
from planner.catalog.types import Gpu
from planner.errors import InputError
from planner.estimate.speed.attention import prefill_rate
from planner.estimate.speed.columns import MOST_BANDWIDTH, AttentionColumns, GemmColumns
from planner.estimate.speed.gemm import product_time
from planner.estimate.speed.kernels import AttentionRow, GemmRow, Kernels, Width, row_for, shipped_kernels
from validation.record import Record

if TYPE_CHECKING:
    from planner.catalog.load import Catalog

LEAST, MOST = 0.2, 5.0
MANY_ROWS, FEW_ROWS = 1024, 16
"""Products with so many rows are bound by compute, with so few by memory, on every GPU of the catalog."""
LONG_PROMPT = 2048
FLOP_PER_PAIR = 4.0
"""Of one head dimension: a product and a sum for the score, and again for the value."""
WIDTHS: Mapping[str, Width] = {"fp32": "32", "bf16": "16", "fp16": "16", "fp8": "8"}
PRIOR = 0.05
"""Weight of "as shipped" against one record, in squared relative errors."""
ROUNDS = 3
"""A time is not quite linear in the factors (waiting, soft maxima), so what is left is fitted again."""
CAUSES = ("compute_16", "compute_8", "bandwidth", "host_link")
SPEED_RULES = ("tpot", "step")
EXPLAINED_BY_CALIBRATION = 0.08
"""A figure further off than this after calibration contradicts the model."""


def clipped(factor: float) -> float:
    """Within what a calibration may say, to four digits."""
    return round(float(min(MOST, max(LEAST, factor))), 4)


def from_micro(figures: Mapping[str, Any], gpu: Gpu, *, source: str, as_of: str) -> Calibration:
    """The calibration that microbenchmarks of this GPU give."""
    kernels = shipped_kernels()
    ratios: dict[str, list[float]] = {}
    for one in figures["products"]:
        width = WIDTHS[one["dtype"]]
        row = gemm_row(kernels, gpu, width)
        if row is None or peak(gpu, one["dtype"]) is None:
            continue
        name = f"compute_{width}" if one["rows"] >= MANY_ROWS else "bandwidth" if one["rows"] <= FEW_ROWS else ""
        if name:
            ratios.setdefault(name, []).append(product_s(one, gpu, row) / one["seconds"])
    attention = row_for(kernels.attention, arch=gpu.arch, gpu=gpu.id)
    for one in figures["attention"]:
        if one["tokens"] >= LONG_PROMPT:
            ratios.setdefault("attention", []).append(attention_s(one, gpu, attention) / one["seconds"])
    row16 = gemm_row(kernels, gpu, "16")
    if row16 is not None:
        ratios["launch"] = [figures["launch_s"] / row16.launch_s]
    if gpu.pcie_bytes_per_second is not None:
        reached = gpu.pcie_bytes_per_second * kernels.shared.pcie_share
        ratios["host_link"] = [figures["host_link_bytes_per_second"] / reached]
    factors = {name: clipped(statistics.median(found)) for name, found in ratios.items()}
    errors = [r - 1.0 for name, found in ratios.items() for r in found]
    after = [r / factors[name] - 1.0 for name, found in ratios.items() for r in found]
    return Calibration(
        gpu=gpu.id,
        arch=gpu.arch,
        factors=Factors(**factors),
        source=source,
        as_of=as_of,
        figures={
            "copy_bytes_per_second": figures["copy_bytes_per_second"],
            "host_link_bytes_per_second": figures["host_link_bytes_per_second"],
            "launch_s": figures["launch_s"],
        },
        scores=scores_of(errors, after),
    )


def gemm_row(kernels: Kernels, gpu: Gpu, width: Width) -> GemmRow | None:
    """The row of products of that width on this GPU, or None where it has none."""
    rows = [r for r in kernels.gemm if r.width == width and (r.arch == gpu.arch or not r.arch)]
    return row_for(rows, arch=gpu.arch, gpu=gpu.id) if rows else None


def peak(gpu: Gpu, dtype: str) -> float | None:
    """Dense peak of a data type, FLOP per second."""
    rate: float | None = getattr(gpu.peak_flop_per_second, dtype)
    return rate


def product_s(one: Mapping[str, Any], gpu: Gpu, row: GemmRow) -> float:
    """Seconds of one product by the model of matrix products, without what an engine adds."""
    rate = peak(gpu, one["dtype"])
    assert rate is not None
    value_bytes = 4.0 if one["dtype"] == "fp32" else 2.0
    columns = GemmColumns(
        flop_per_second=np.array([rate]),
        bytes_per_second=np.array([gpu.hbm_bytes_per_second]),
        reached_bytes_per_second=np.array([gpu.hbm_bytes_per_second * min(MOST_BANDWIDTH, row.bandwidth_share)]),
        num_sms=np.array([float(gpu.sm_count or 0)]),
        peak_share=np.array([row.peak_share]),
        launch_s=np.array([row.launch_s]),
        sharpness=np.array([row.sharpness]),
        half_depth=np.array([row.half_depth]),
        half_bytes=np.array([row.half_bytes]),
        few_rows_share=np.array([row.few_rows_share]),
        operand_bytes=np.array([value_bytes]),
    )
    time = product_time(
        columns,
        rows=np.array([float(one["rows"])]),
        columns=np.array([float(one["columns"])]),
        depth=np.array([float(one["depth"])]),
        weight_bytes=value_bytes,
    )
    return float(np.sum(time.total_s))


def attention_s(one: Mapping[str, Any], gpu: Gpu, row: AttentionRow) -> float:
    """Seconds of causal attention over whole prompts by the model of attention: each token sees half on average."""
    tokens = float(one["tokens"])
    pairs = tokens * (tokens + 1.0) / 2.0
    flop = FLOP_PER_PAIR * one["sequences"] * one["heads"] * one["head_dim"] * pairs
    rate = gpu.peak_flop_per_second.bf16 or gpu.peak_flop_per_second.fp16
    assert rate is not None
    columns = AttentionColumns(
        flop_per_second=np.array([rate]),
        bytes_per_second=np.array([gpu.hbm_bytes_per_second]),
        prefill_share=np.array([row.prefill_share]),
        half_length=np.array([row.half_length]),
        decode_share=np.array([row.decode_share]),
        decode_half_bytes=np.array([row.decode_half_bytes]),
        decode_launch_s=np.array([row.decode_launch_s]),
    )
    return float((flop / prefill_rate(columns, np.array([tokens])))[0]) + row.decode_launch_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One measured time beside the seconds by cause that were predicted for it."""

    record: str
    rule: str
    measured_s: float
    predicted_s: float
    seconds: Mapping[str, float]
    """By factor of `CAUSES`; what no factor changes under `fixed`."""


def from_records(
    records: Iterable[Record], gpu: Gpu, catalog: Catalog, *, as_of: str, causes: Sequence[Cause] = ()
) -> tuple[Calibration, list[str]]:
    """The calibration that measured records of this GPU give, and the figures that contradict it and no cause explains.

    Raises InputError where no record measured a time on it.
    """
    measured = [r for r in records if r.origin == "measured" and not r.emulated]
    before = timed_of(measured, gpu, catalog)
    if not before:
        raise InputError(f"no record measured a time on {gpu.id}; run `plan validate --suite single-gpu` there first")
    draft = Calibration(gpu=gpu.id, arch=gpu.arch, factors=Factors(), source="draft", as_of=as_of)
    after = before
    for _ in range(ROUNDS):
        known = draft.factors.model_dump()
        moved = {name: clipped(known[name] * factor) for name, factor in fitted(after).items()}
        draft = draft.model_copy(update={"factors": draft.factors.model_copy(update=moved)})
        with calibrated(draft):
            after = timed_of(measured, gpu, calibrated_catalog(catalog, draft))
    errors = [t.predicted_s / t.measured_s - 1.0 for t in before]
    left = [t.predicted_s / t.measured_s - 1.0 for t in after]
    explained = {r.id for r in measured if r.explained}
    contradicting = [
        f"{t.record}: {t.rule} predicted {t.predicted_s:.4g} s after calibration, measured {t.measured_s:.4g} s"
        for t, error in zip(after, left, strict=True)
        if abs(error) > EXPLAINED_BY_CALIBRATION and t.record not in explained and not cause_of(causes, t)
    ]
    made = draft.model_copy(
        update={"source": f"{len(before)} times of {len(measured)} records", "scores": scores_of(errors, left)}
    )
    return made, contradicting


def timed_of(records: Sequence[Record], gpu: Gpu, catalog: Catalog) -> list[Timed]:
    """Every measured time on this GPU that can be predicted, in the records' order."""
    from planner.errors import ImpossibleError
    from planner.estimate.run import place_workload
    from planner.spec.load import spec_from_mapping

    found = []
    for record in records:
        quantity = next((q for rule in SPEED_RULES if (q := record.quantity(rule)) is not None and q.measured), None)
        if quantity is None or (record.workload.get("pin") or {}).get("gpu") != gpu.id:
            continue
        try:
            spec = spec_from_mapping({"version": 1, "name": "records", "workloads": [dict(record.workload)]})
            estimate = place_workload(spec.workloads[0], spec, catalog).estimate
        except (InputError, ImpossibleError):
            continue
        speed = estimate.performance
        predicted = speed.tpot_s if quantity.rule == "tpot" else speed.step_s
        if predicted is None or quantity.measured is None:
            continue
        eight_bit = str(estimate.config.get("precision")).startswith("fp8")
        found.append(
            Timed(
                record=record.id,
                rule=quantity.rule,
                measured_s=quantity.measured,
                predicted_s=predicted,
                seconds=by_factor(speed.seconds_by_cause, predicted, eight_bit=eight_bit),
            )
        )
    return found


def by_factor(seconds: Mapping[str, float], total_s: float, *, eight_bit: bool) -> dict[str, float]:
    """Seconds of one step by the factor that changes them; the rest is fixed."""
    compute = "compute_8" if eight_bit else "compute_16"
    named = {"compute": compute, "memory_bandwidth": "bandwidth", "host_link": "host_link"}
    found = {name: 0.0 for name in (*CAUSES, "fixed")}
    for cause, value in seconds.items():
        found[named.get(cause, "fixed")] += value
    counted = sum(found.values())
    if counted > 0:
        found = {name: value * total_s / counted for name, value in found.items()}
    return found


def fitted(times: Sequence[Timed]) -> dict[str, float]:
    """Factors that make the seconds by cause add up to what was measured, in relative least squares.

    The unknowns are the inverses of the factors, in which a time is linear.
    """
    used = [name for name in CAUSES if any(t.seconds[name] > 0 for t in times)]
    if not used:
        return {}
    left = np.array([[t.seconds[name] / t.measured_s for name in used] for t in times])
    right = np.array([1.0 - t.seconds["fixed"] / t.measured_s for t in times])
    prior = np.sqrt(PRIOR) * np.eye(len(used))
    inverse, *_ = np.linalg.lstsq(np.vstack([left, prior]), np.concatenate([right, np.diag(prior)]), rcond=None)
    return {name: clipped(1.0 / max(value, 1.0 / MOST)) for name, value in zip(used, inverse, strict=True)}


def scores_of(before: Sequence[float], after: Sequence[float]) -> Scores:
    """Median and worst of the sizes of errors."""
    return Scores(
        num_figures=len(before),
        median_before=statistics.median(map(abs, before)),
        median_after=statistics.median(map(abs, after)),
        worst_before=max(before, key=abs),
        worst_after=max(after, key=abs),
    )


def catalog_gpu(name: str, total_bytes: int, catalog: Catalog) -> Gpu:
    """The catalog's entry of the card that the driver calls so; of several, the nearest in memory.

    Raises InputError where the catalog has none by that name.
    """
    from validation.compare import is_planned_gpu

    found = [g for g in catalog.gpus.values() if is_planned_gpu(g.id, name)]
    if not found:
        raise InputError(f"the catalog has no GPU that the driver calls {name!r}; name one with --gpu ID")
    return min(found, key=lambda g: (abs(g.memory_bytes - total_bytes), g.id))

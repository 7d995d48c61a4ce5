"""The interactive page: the report with sliders on traffic and prices, and tables that can be sorted.

The script only repeats, at the sliders' figures, the sums made here; without it the page shows them as they are now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.estimate.document import ConfigValue
from planner.plan.types import Alternative, Plan, WorkloadPlan
from planner.report.bars import letter, tone
from planner.report.currency import in_currency
from planner.report.language import ENGLISH, spoken_now
from planner.report.numbers import money, shown, whole
from planner.report.sections import WayNow, WhatIfRow, WhatIfView
from planner.report.whatif import capacity
from planner.report.workloads import config_phrase

MOST_PRICES = 6
"""GPUs with a slider: those planned first."""


def whatif_view(plan: Plan) -> WhatIfView | None:
    """The sliders and tables; None where no workload has a price."""
    known = {w.gpu: w.gpu_name for w in plan.workloads}
    rows = [row for i, w in enumerate(plan.workloads) if (row := _row(w, i, known)) is not None]
    if not rows:
        return None
    names: dict[str, str] = {}
    for way in (*(w for r in rows for w in r.ways if w.is_planned), *(w for r in rows for w in r.ways)):
        names.setdefault(way.gpu_id, way.gpu)
    priced = [w for w in plan.workloads if w.cost.usd_per_hour is not None]
    planned = sum(w.cost.usd_per_hour or 0.0 for w in priced)
    best = sum(cheapest(w) for w in priced)
    return WhatIfView(
        numbers=_locale(),
        prices=tuple(list(names.items())[:MOST_PRICES]),
        workloads=tuple(rows),
        planned=money(planned),
        cheapest=money(best),
    )


def cheapest(workload: WorkloadPlan) -> float:
    """USD per hour of the cheapest way by its share of list prices."""
    others = [a.usd_per_hour for a in workload.alternatives if a.usd_per_hour is not None and a.gpus]
    return min([workload.cost.usd_per_hour or 0.0, *others])


def _locale() -> str:
    """What the browser is to write numbers in: English has the marks of every other page in English."""
    spoken = spoken_now()
    code = "en-US" if spoken.language.code == ENGLISH else spoken.language.code
    return code if spoken.has_native_digits else f"{code}-u-nu-latn"


def _row(workload: WorkloadPlan, index: int, known: Mapping[str, str]) -> WhatIfRow | None:
    if workload.cost.usd_per_hour is None or not workload.gpus:
        return None
    ways = sorted(_ways(workload, known), key=lambda w: float(w.cost_each) * int(w.gpus_each) * int(w.replicas))
    return WhatIfRow(letter=letter(index), tone=tone(index), name=shown(workload.name), ways=tuple(ways))


def _ways(workload: WorkloadPlan, known: Mapping[str, str]) -> Iterator[WayNow]:
    held = capacity(workload)
    share = workload.share_of_demand_per_replica or (held / workload.replicas if held and workload.replicas else None)
    yield _way(
        gpu=workload.gpu_name,
        gpu_id=workload.gpu,
        config=workload.config,
        gpus=workload.gpus,
        replicas=workload.replicas,
        share=share if workload.mode == "infer" else None,
        usd_per_hour=workload.cost.usd_per_hour or 0.0,
        is_planned=True,
    )
    for other in workload.alternatives:
        if other.usd_per_hour is not None and other.gpus:
            yield _other_way(other, workload, known.get(other.gpu, other.gpu))


def _other_way(other: Alternative, workload: WorkloadPlan, gpu: str) -> WayNow:
    return _way(
        gpu=gpu,
        gpu_id=other.gpu,
        config=other.config,
        gpus=other.gpus,
        replicas=other.replicas or 1,
        share=other.share_of_demand_per_replica if workload.mode == "infer" else None,
        usd_per_hour=other.usd_per_hour or 0.0,
        is_planned=False,
    )


def _way(
    *,
    gpu: str,
    gpu_id: str,
    config: Mapping[str, ConfigValue],
    gpus: int,
    replicas: int,
    share: float | None,
    usd_per_hour: float,
    is_planned: bool,
) -> WayNow:
    return WayNow(
        is_planned=is_planned,
        gpu=shown(gpu),
        gpu_id=shown(gpu_id),
        config=config_phrase(config),
        gpus=whole(gpus),
        cost=money(usd_per_hour),
        gpus_each=str(gpus // max(1, replicas)),
        replicas=str(max(1, replicas)),
        share_each="" if share is None else repr(share),
        cost_each=repr(in_currency(usd_per_hour) / gpus),
    )

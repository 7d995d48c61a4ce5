"""Placements of a plan as runs, each with all that a target needs to know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from planner.export.types import Run
from planner.plan.types import NodeLoad, Placement, Plan, PurchaseLine, WorkloadPlan

EVERY_VERSION = "0"
"""Version of a profile that holds for all."""
LONGEST_SLUG = 40
"""Names of Kubernetes objects have at most 63 characters, and endings are added."""


def runs_of(plan: Plan) -> tuple[Run, ...]:
    """Every placement of every workload, period by period, in the plan's order."""
    slugs = _slugs([w.name for w in plan.workloads])
    found: list[Run] = []
    if not plan.periods:
        for workload in plan.workloads:
            found += _of(plan, workload, workload.placements, slugs[workload.name], "", plan.purchases, plan.nodes)
        return tuple(found)
    by_name = {w.name: w for w in plan.workloads}
    for period in plan.periods:
        there = tuple(plan.purchases[i] for i in period.purchases)
        when = f"period {period.index + 1}, months {period.first_month + 1} to {period.first_month + period.months}"
        for part in period.workloads:
            slug = f"{slugs[part.name]}-period{period.index + 1}"
            found += _of(plan, by_name[part.name], part.placements, slug, when, there, period.loads)
    return tuple(found)


def _of(
    plan: Plan,
    workload: WorkloadPlan,
    placements: Sequence[Placement],
    slug: str,
    when: str,
    there: Sequence[PurchaseLine],
    loads: Sequence[NodeLoad],
) -> Iterator[Run]:
    specs: dict[str, Mapping[str, Any]] = {w["name"]: w for w in plan.inputs.spec.get("workloads", ())}
    spec = specs.get(workload.name, {})
    engine = workload.engine.partition("@")[0]
    for index, placed in enumerate(placements):
        line = next((p for p in there if p.offer == placed.offer and p.node == placed.node), None)
        load = next((n for n in loads if line is not None and plan.purchases[n.purchase] == line), None)
        yield Run(
            slug=f"{slug}-{index + 1}" if len(placements) > 1 else slug,
            workload=workload.name,
            mode=workload.mode,
            model=workload.model,
            engine=engine,
            engine_version=_version(plan, engine, str(spec.get("engine", ""))),
            offer=placed.offer,
            provider=line.provider if line else "",
            procurement=placed.procurement or (line.procurement if line else ""),
            node=placed.node,
            gpu=placed.gpu,
            replicas=placed.replicas,
            gpus=placed.gpus_per_replica,
            nodes=placed.nodes_per_replica,
            node_gpus=load.gpus if load else None,
            node_ram_bytes=load.ram_bytes if load else None,
            host_bytes=int(placed.figures.get("host_bytes", workload.memory.host_bytes)),
            when=when,
            hours=workload.hours,
            config=placed.config,
            spec=spec,
            options=plan.inputs.engine_options.get(workload.name, {}),
            architecture=plan.inputs.models.get(workload.name, {}),
        )


def _version(plan: Plan, engine: str, asked: str) -> str:
    """The version that the spec names, else the one whose profile the plan used."""
    if "@" in asked:
        return asked.partition("@")[2]
    used = [f.id.partition("@")[2] for f in plan.inputs.facts if f.kind == "engine" and f.id.startswith(f"{engine}@")]
    return used[-1] if used and used[-1] != EVERY_VERSION else ""


def _slugs(names: Sequence[str]) -> dict[str, str]:
    """Names made safe for paths, DNS labels and shells, and unique.

    >>> _slugs(["Chat Large", "chat/large", "; rm -rf ~"])
    {'Chat Large': 'chat-large', 'chat/large': 'chat-large-2', '; rm -rf ~': 'rm-rf'}
    """
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")[:LONGEST_SLUG].strip("-") or "workload"
        plain = plain if plain[0].isalpha() else f"w-{plain}"
        slug, number = plain, 1
        while slug in found.values():
            number += 1
            slug = f"{plain}-{number}"
        found[name] = slug
    return found

"""SkyPilot: a task a run. Keys as in SkyPilot 0.14 (docs.skypilot.co, YAML specification)."""

from __future__ import annotations

from typing import Any

from planner.export.shell import STRICT, about, comments, settings_required, start
from planner.export.training import local_gpus
from planner.export.types import HEAD, RANK, CannotExportError, Launch, Run
from planner.export.yaml_text import yaml_text

CLOUDS = {
    name: name
    for name in ("aws", "azure", "gcp", "lambda", "nebius", "oci", "runpod", "vast", "verda", "fluidstack", "cudo")
}
"""Providers of the plan that SkyPilot reaches itself (docs.skypilot.co, installation)."""
ANYWHERE = frozenset({"all", "global", "any"})
"""Last parts of offers that hold in every region, also after the first hyphen (`us-all`)."""


def task(run: Run, launch: Launch) -> str:
    """The task of one run. Raises CannotExportError."""
    if run.text("mig"):
        raise CannotExportError(f"SkyPilot rents whole GPUs, not MIG {run.text('mig')}; use --to kubernetes or slurm")
    if run.procurement in ("owned", "buy"):
        raise CannotExportError(f"it runs on {run.node}, which is not rented; use --to kubernetes or slurm")
    if run.procurement.startswith("reserved"):
        raise CannotExportError(f"it runs on nodes with a contract ({run.procurement}); use --to kubernetes or slurm")
    if run.provider not in CLOUDS:
        raise CannotExportError(f"SkyPilot does not rent from {run.provider or 'an unknown provider'}")
    resources: dict[str, Any] = {"infra": _infra(run)}
    if run.provider in HYPERSCALERS:
        resources["instance_type"] = run.node
    resources["accelerators"] = f"{accelerator(run)}:{run.node_gpus or local_gpus(run)}"
    resources["use_spot"] = run.procurement == "spot"
    if launch.port is not None:
        resources["ports"] = launch.port
    document: dict[str, Any] = {"name": run.slug, "num_nodes": run.nodes, "resources": resources}
    needs = [need.partition(": ")[0] for need in launch.needs]
    if needs:
        document["envs"] = dict.fromkeys(needs)
    if launch.files:
        document["file_mounts"] = {f"~/{run.slug}/{name}": f"./{name}" for name in launch.files}
    document["setup"] = f"set -e\n{launch.setup}\n"
    document["run"] = _run(run, launch)
    head = [
        f"SkyPilot 0.14: {run.workload}",
        f"sky launch -c {run.slug} {run.slug}.sky.yaml, once for each replica; --secret HF_TOKEN for gated models",
        *about(run),
        *launch.notes,
        *(f"Set with --env {need}" for need in launch.needs),
    ]
    return comments(head) + yaml_text(document)


HYPERSCALERS = frozenset({"aws", "azure", "gcp"})
"""Where offers carry the provider's name of the instance, which pins GPU, count and host."""


def _infra(run: Run) -> str:
    """`cloud/region`, the cloud alone where the offer holds everywhere."""
    region = run.offer.rpartition("/")[2]
    anywhere = region in ANYWHERE or region.rpartition("-")[2] in ANYWHERE or "/" not in run.offer
    return CLOUDS[run.provider] + ("" if anywhere else f"/{region}")


LARGER_SIZES = frozenset({("a100", "80gb"), ("v100", "32gb")})
"""Models sold in two sizes of which the larger carries its size in SkyPilot's name."""


def accelerator(run: Run) -> str:
    """SkyPilot's name of the GPU, as `sky show-gpus` prints it: the model, and the memory of the larger of two."""
    words = run.gpu.split("-")
    model = "".join(words[:2]) if words[0] == "rtx" else words[0]
    size = words[-1] if (words[0], words[-1]) in LARGER_SIZES else ""
    return f"{model}-{size}".strip("-").upper()


def _run(run: Run, launch: Launch) -> str:
    text = f"{STRICT}\n"
    if launch.files:
        text += f'cd -- "$HOME/{run.slug}"\n'
    text += settings_required(launch)
    if run.nodes > 1:
        text += f'export {HEAD}="$(head -n 1 <<< "$SKYPILOT_NODE_IPS")"\nexport {RANK}="$SKYPILOT_NODE_RANK"\n'
    return text + start(launch, run)

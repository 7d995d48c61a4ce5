"""Kubernetes: a Deployment with a Service, or an indexed Job. Fields of apps/v1 and batch/v1, Kubernetes 1.37."""

from __future__ import annotations

from typing import Any

from planner.export.shell import STRICT, about, comments, start
from planner.export.types import HEAD, RANK, CannotExportError, Launch, Run
from planner.export.yaml_text import yaml_text
from planner.units import GIB, ceil_div

WORK = "/work"
SHARED_MEMORY = "16Gi"
LABEL = "app.kubernetes.io/name"


def manifest(run: Run, launch: Launch) -> str:
    """Everything that one run needs, one document an object. Raises CannotExportError."""
    if launch.port is not None and run.nodes > 1:
        raise CannotExportError(
            f"a replica over {run.nodes} nodes is no Deployment; use --to slurm, or LeaderWorkerSet"
        )
    documents: list[dict[str, Any]] = []
    if launch.files:
        documents.append(_object("v1", "ConfigMap", f"{run.slug}-files", {"data": dict(launch.files)}))
    if launch.port is not None:
        documents += [_deployment(run, launch), _service(run, launch.port)]
    else:
        documents += [_job(run, launch, index) for index in range(run.replicas)]
        documents += [_peers(run, index) for index in range(run.replicas)] if run.nodes > 1 else []
    head = [f"Kubernetes 1.37: {run.workload}", *about(run), *launch.notes]
    head.append(f"Each GPU is a {run.gpu}: pick its nodes where the cluster has several types; AMD's are amd.com/gpu.")
    if launch.needs:
        head.append(f"Before: kubectl create configmap {run.slug}-settings with these keys")
        head += [f"  {need}" for need in launch.needs]
    return comments(head) + yaml_text(*documents)


def _object(version: str, kind: str, name: str, rest: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": {LABEL: name}}, **rest}


def _deployment(run: Run, launch: Launch) -> dict[str, Any]:
    probe = {"httpGet": {"path": launch.health, "port": launch.port}}
    container = _container(run, launch) | {
        "ports": [{"containerPort": launch.port}],
        "readinessProbe": {**probe, "periodSeconds": 10},
        "startupProbe": {**probe, "periodSeconds": 10, "failureThreshold": 360},
    }
    labels = {LABEL: run.slug}
    spec = {
        "replicas": run.replicas,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": _pod(run, launch, container)},
    }
    return _object("apps/v1", "Deployment", run.slug, {"spec": spec})


def _service(run: Run, port: int) -> dict[str, Any]:
    spec = {"selector": {LABEL: run.slug}, "ports": [{"port": 80, "targetPort": port}]}
    return _object("v1", "Service", run.slug, {"spec": spec})


def _job(run: Run, launch: Launch, index: int) -> dict[str, Any]:
    """One replica: as many pods as it has nodes, each with its number."""
    name = f"{run.slug}-{index}"
    pod = _pod(run, launch, _container(run, launch)) | {"restartPolicy": "Never"}
    container = pod["containers"][0]
    if run.nodes > 1:
        pod["subdomain"] = name
        container["env"] = [*container["env"], {"name": HEAD, "value": f"{name}-0.{name}"}]
    spec = {
        "completions": run.nodes,
        "parallelism": run.nodes,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "template": {"metadata": {"labels": {LABEL: name}}, "spec": pod},
    }
    return _object("batch/v1", "Job", name, {"spec": spec})


def _peers(run: Run, index: int) -> dict[str, Any]:
    """The headless Service by which pods of one replica find each other."""
    name = f"{run.slug}-{index}"
    return _object("v1", "Service", name, {"spec": {"clusterIP": "None", "selector": {LABEL: name}}})


def _container(run: Run, launch: Launch) -> dict[str, Any]:
    rank = f'export {RANK}="$JOB_COMPLETION_INDEX"\n' if run.nodes > 1 else ""
    inside = f"cd {WORK}\n" if launch.files else ""
    inside += f'export PATH="{launch.image_folder}:$PATH"\n' if launch.image_folder else ""
    inside += "" if launch.is_image_ready else f"{launch.setup}\n"
    needs = [need.partition(": ")[0] for need in launch.needs]
    settings = f"{run.slug}-settings"
    token = {"secretKeyRef": {"name": "hugging-face", "key": "token", "optional": True}}
    env: list[dict[str, Any]] = [{"name": "HF_TOKEN", "valueFrom": token}]
    env += [{"name": n, "valueFrom": {"configMapKeyRef": {"name": settings, "key": n}}} for n in needs]
    mounts = [{"name": "shared-memory", "mountPath": "/dev/shm"}]
    mounts += [{"name": "files", "mountPath": WORK}] if launch.files else []
    return {
        "name": "main",
        "image": launch.image,
        "command": ["/bin/bash", "-c"],
        "args": [f"{STRICT}\n{inside}{rank}{start(launch, run)}"],
        "env": env,
        "resources": _resources(run),
        "volumeMounts": mounts,
    }


def _resources(run: Run) -> dict[str, Any]:
    """GPUs or parts of them, and host memory where the plan keeps something there."""
    part = run.text("mig")
    key = f"nvidia.com/mig-{part}" if part else "nvidia.com/gpu"
    limits: dict[str, Any] = {key: run.gpus_per_node}
    found: dict[str, Any] = {"limits": limits}
    if run.host_bytes:
        found["requests"] = {"memory": f"{ceil_div(run.host_bytes, GIB)}Gi"}
    return found


def _pod(run: Run, launch: Launch, container: dict[str, Any]) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = [
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}}
    ]
    if launch.files:
        volumes.append({"name": "files", "configMap": {"name": f"{run.slug}-files"}})
    return {"containers": [container], "volumes": volumes}

"""Where each module of a model lives: GPUs as pipeline stages, host memory and disk, through accelerate's hooks.

The plan gives shares of the layers' weight bytes; layers move whole, so shares are rounded to layers. The first layers
stay on the GPU, then come those in host memory, then those on disk, as accelerate fills a `max_memory` in that order.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from validation.formats import UnsupportedError, needs
from validation.trial import Trial

if TYPE_CHECKING:
    from torch import nn

Place = int | str


def is_split(trial: Trial) -> bool:
    """True where some layers live elsewhere than on the first GPU."""
    return bool(trial.share("weights_cpu") or trial.share("weights_disk") or trial.number("pipeline_parallel") > 1)


def layer_places(num_layers: int, *, stages: int, cpu_share: float, disk_share: float, main: Place) -> list[Place]:
    """The place of each layer, first to last.

    >>> layer_places(4, stages=1, cpu_share=0.25, disk_share=0.25, main=0)
    [0, 0, 'cpu', 'disk']
    >>> layer_places(4, stages=2, cpu_share=0.0, disk_share=0.0, main=0)
    [0, 0, 1, 1]
    """
    on_disk = round(disk_share * num_layers)
    on_cpu = min(round(cpu_share * num_layers), num_layers - on_disk)
    on_gpu = num_layers - on_cpu - on_disk
    gpus: list[Place] = [main if stages == 1 else i * stages // max(1, on_gpu) for i in range(on_gpu)]
    return [*gpus, *["cpu"] * on_cpu, *["disk"] * on_disk]


def layer_paths(model: nn.Module) -> list[str]:
    """Names of the repeated layers: the longest list of modules of one class.

    Raises UnsupportedError where a model has no such list.
    """
    from torch import nn

    lists = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(m) for m in module}) == 1
    ]
    if not lists:
        raise UnsupportedError("the model has no list of equal layers to place")
    path, layers = max(lists, key=lambda found: (len(found[1]), -len(found[0])))
    return [f"{path}.{i}" for i in range(len(layers))]


def device_map(model: nn.Module, trial: Trial, *, main: Place) -> dict[str, Place]:
    """Module -> place for accelerate: layers as planned, everything else on the first GPU (the head on the last)."""
    layers = layer_paths(model)
    stages = trial.number("pipeline_parallel")
    places = layer_places(
        len(layers),
        stages=stages,
        cpu_share=trial.share("weights_cpu"),
        disk_share=trial.share("weights_disk"),
        main=main,
    )
    found: dict[str, Place] = dict(zip(layers, places, strict=True))
    last = max((p for p in places if isinstance(p, int)), default=main)
    for path, module in model.named_modules():
        direct = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if path and direct and not any(path == layer or path.startswith(f"{layer}.") for layer in layers):
            found[path] = last if _is_tail(path, layers) and not _tied(model) else main
    return found


def _is_tail(path: str, layers: list[str]) -> bool:
    """The head and the final norm come after the layers."""
    owner = layers[0].rsplit(".", 2)[0]
    return not path.startswith(f"{owner}.") or "norm" in path.rsplit(".", 1)[-1].casefold()


def _tied(model: nn.Module) -> bool:
    return bool(getattr(getattr(model, "config", None), "tie_word_embeddings", False))


def placed(model: nn.Module, trial: Trial, *, device: str, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model spread as planned, and what went where. `folder` takes what lies on disk.

    Raises UnsupportedError where accelerate is missing or fewer GPUs are visible than stages.
    """
    needs("accelerate", why="an offload split or pipeline stages")
    import torch
    from accelerate import dispatch_model

    stages = trial.number("pipeline_parallel")
    if stages > 1 and torch.cuda.device_count() < stages:
        raise UnsupportedError(f"{stages} pipeline stages need as many GPUs; {torch.cuda.device_count()} are visible")
    main: Place = 0 if device == "cuda" else "cpu"
    where = device_map(model, trial, main=main)
    folder.mkdir(parents=True, exist_ok=True)
    spread = dispatch_model(
        model, where, main_device=main, offload_dir=str(folder), skip_keys="past_key_values", force_hooks=True
    )
    layers = set(layer_paths(model))
    counts: dict[str, int] = {}
    for path, place in where.items():
        if path in layers:
            counts[str(place)] = counts.get(str(place), 0) + 1
    return spread, {"layers_by_place": counts}

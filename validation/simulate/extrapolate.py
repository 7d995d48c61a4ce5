"""A deep model from two shallow ones: layers are alike, so every peak grows by the same bytes with each.

A peak is the largest of several candidates, and which one wins changes with depth. So each is followed on its own: by
phase, and within forward and backward by where in the model the loop is (embedding, first layer, those between, last
layer, head). Each of these is a straight line in the number of layers; their largest at full depth is the peak.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from validation import models
from validation.simulate.case import Case
from validation.simulate.fsdp import layers_of
from validation.simulate.peaks import Memory, Region
from validation.simulate.tracker import Tracker

FEWEST = 4
"""Layers of the shallower run: first, last and two between."""
STEP = 2


def depths(case: Case) -> tuple[int, int, int] | None:
    """Layers of two shallow runs and of the model; None where the model is to be run as it is.

    Layers whose kinds repeat are cut in whole periods, so that the last one keeps its kind.
    """
    config = models.hf_config(case.keys)
    if case.gpus > 1 or case.reentrant or config.is_encoder_decoder:
        return None
    whole = models.num_layers(config)
    period = period_of(getattr(config, "layer_types", None) or ())
    low = FEWEST + (whole - FEWEST) % period
    high = low + -(-STEP // period) * period
    return (low, high, whole) if 2 * high <= whole else None


def period_of(kinds: Sequence[str]) -> int:
    """After how many layers their kinds repeat.

    >>> period_of(["s", "s", "f", "s", "s", "f", "s"]), period_of([])
    (3, 1)
    """
    for period in range(1, len(kinds)):
        if all(kinds[i] == kinds[i + period] for i in range(len(kinds) - period)):
            return period
    return 1


def at_depth(low: Memory, high: Memory, depths: tuple[int, int, int]) -> Memory:
    """The memory of the whole model from those of two shallow ones."""
    few, more, whole = depths

    def line(a: int, b: int) -> int:
        return b + (b - a) * (whole - more) // (more - few)

    shallow = {(region.phase, region.name): region for region in low.regions}
    return Memory(
        reserved=None,
        requested=line(low.requested, high.requested),
        static=line(low.static, high.static),
        regions=tuple(_deeper(shallow[r.phase, r.name], r, line) for r in high.regions),
    )


def _deeper(few: Region, more: Region, line: Callable[[int, int], int]) -> Region:
    names = sorted({*few.parts, *more.parts} - {"rounding"})
    parts = {name: line(few.parts.get(name, 0), more.parts.get(name, 0)) for name in names}
    allocated = line(few.allocated, more.allocated)
    return replace(more, allocated=allocated, parts=parts | {"rounding": allocated - sum(parts.values())})


@contextlib.contextmanager
def regions_marked(model: torch.nn.Module, tracker: Tracker) -> Iterator[None]:
    """Tell the tracker where in the model forward and backward are."""
    layers = layers_of(model)
    handles = []
    for index, layer in enumerate(layers):
        name = {0: "first", len(layers) - 1: "last"}.get(index, "between")
        below = {0: "embedding", 1: "first"}.get(index, "between")
        handles.append(layer.register_forward_pre_hook(_entering(tracker, name, below)))
    handles.append(layers[-1].register_forward_hook(_leaving(tracker)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _entering(tracker: Tracker, name: str, below: str) -> Callable[[Any, Any], None]:
    """Forward enters a layer; when the gradient of its input is known, backward has left it for the one below."""

    def hook(module: Any, args: Any) -> None:
        if torch._C._current_graph_task_id() == -1:
            tracker.enter_region(name)
            _when_known(args[0] if args else None, lambda _: tracker.enter_region(below))

    return hook


def _leaving(tracker: Tracker) -> Callable[[Any, Any, Any], None]:
    def hook(module: Any, args: Any, out: Any) -> None:
        if torch._C._current_graph_task_id() == -1:
            tracker.enter_region("head")
            first = out[0] if isinstance(out, tuple) else out
            _when_known(first, lambda _: tracker.enter_region("last"))

    return hook


def _when_known(tensor: Any, then: Callable[[torch.Tensor], None]) -> None:
    if isinstance(tensor, torch.Tensor) and tensor.requires_grad:
        tensor.register_hook(then)

"""One case, run on `meta` tensors from beginning to end."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from validation import models
from validation.simulate import bnb, ddp, extrapolate, fsdp, loops, quantised, tensor_parallel
from validation.simulate.backend import like_cuda
from validation.simulate.case import WEIGHTS, Adapters, Case
from validation.simulate.kernels import kernel_bytes
from validation.simulate.peaks import Memory, memory_of
from validation.simulate.tracker import Step, Tracker, resizes_followed

STEPS = 2
"""The second step is the first with optimizer state in place, and all later ones are like it."""
DEVICE = "meta"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one case."""

    case: Case
    memory: Memory
    params: int
    trained: int
    kernels: Mapping[str, int]
    """Attention kernels by how often they ran."""
    num_ops: int
    wall_s: float
    depths: tuple[int, ...] = ()
    """Layers of the shallow runs it was extrapolated from, and of the model."""


def run(case: Case, *, workspace_bytes: int = 0, full: bool = True) -> Run:
    """Simulate the case; unless `full`, a deep model from two shallow ones.

    Raises ModelError where the model cannot be built, DataDependentError where its shapes depend on values.
    """
    depths = None if full else extrapolate.depths(case)
    if depths is None:
        return run_layers(case, workspace_bytes=workspace_bytes)
    low, high = (run_layers(case, workspace_bytes=workspace_bytes, layers=n) for n in depths[:2])
    between, beyond = depths[1] - depths[0], depths[2] - depths[1]
    return replace(
        high,
        memory=extrapolate.at_depth(low.memory, high.memory, depths),
        params=high.params + (high.params - low.params) * beyond // between,
        trained=high.trained + (high.trained - low.trained) * beyond // between,
        wall_s=low.wall_s + high.wall_s,
        depths=depths,
    )


def run_layers(case: Case, *, workspace_bytes: int = 0, layers: int | None = None) -> Run:
    """Simulate the case with the model cut to so many layers, and the peaks of its regions kept apart."""
    began = time.perf_counter()
    with quiet():
        model = model_of(case, DEVICE, layers=layers)
        tracker = Tracker(DEVICE, kernels=kernel_bytes)
        apart = contextlib.nullcontext() if layers is None else extrapolate.regions_marked(model, tracker)
        with sharded(model, case, tracker), apart:
            kernels = steps_of(model, case, tracker, workspace_bytes)
    memory = memory_of(tracker.steps, vocab_size=getattr(model.config, "vocab_size", None), sequences=case.sequences)
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return Run(
        case=case,
        memory=memory,
        params=sum(n for n, _ in sizes),
        trained=sum(n for n, learns in sizes if learns),
        kernels=kernels,
        num_ops=tracker.num_ops,
        wall_s=time.perf_counter() - began,
    )


def steps_of(model: Any, case: Case, tracker: Tracker, workspace_bytes: int = 0) -> Counter[str]:
    """Fill the tracker with the case's run; the attention kernels used."""
    gc.collect()
    if case.pooled:
        tracker.touch(sum(fsdp.local(p).nbytes for p in model.parameters()), "warm-up")
    register_model(model, tracker)
    if workspace_bytes:
        tracker.reserve(workspace_bytes, "workspace")
    watch = loops.Watch(begin=tracker.begin, holds=lambda tensor, what: tracker.register(fsdp.local(tensor), what))
    with like_cuda() as used, tracker, resizes_followed(tracker):
        if case.mode == "train":
            with bnb.without_kernels() if case.optimizer in bnb.OPTIMIZERS else contextlib.nullcontext():
                forward = model
                if case.replicas > 1:
                    forward = ddp.replicated(model, bucket_view=case.bucket_view, holds=watch.holds)
                loops.train(model, case, device=DEVICE, steps=STEPS, watch=watch, forward=forward)
        else:
            loops.infer(model, case, device=DEVICE, watch=watch)
    return used


@contextlib.contextmanager
def sharded(model: Any, case: Case, tracker: Tracker) -> Iterator[None]:
    """The model dealt out over the case's ranks, or split over them, if there are several."""
    if case.tensor_parallel > 1:
        with fsdp.ranks(tracker, case.tensor_parallel) as mesh:
            tensor_parallel.split_model(model, mesh)
            yield
        return
    if case.replicas > 1:
        with fsdp.ranks(tracker, case.replicas):
            yield
        return
    if case.shards == 1:
        yield
        return
    with fsdp.ranks(tracker, case.shards) as mesh:
        fsdp.shard_model(model, mesh, compute=getattr(torch, case.autocast) if case.autocast else None)
        yield


def register_model(model: Any, tracker: Tracker) -> None:
    """The weights as they lie there before anything runs, adapters apart."""
    for name, p in model.named_parameters():
        tracker.register(fsdp.local(p), "adapters" if "lora_" in name else "weights")
    for b in model.buffers():
        tracker.register(b, "buffers")


def model_of(case: Case, device: str, *, layers: int | None = None) -> Any:
    """The case's model with its adapters."""
    config = models.for_task(models.hf_config(case.keys), trains=case.mode == "train")
    if layers is not None:
        config = models.with_layers(config, layers)
    dtype = getattr(torch, case.dtype)
    with like_cuda():
        model = models.build(config, dtype=dtype, device=device, attention=case.attention)
    return model if case.adapters is None else adapted(model, case.adapters, device)


def adapted(model: Any, adapters: Adapters, device: str) -> Any:
    """The model frozen, with trainable adapters beside its linear layers (peft)."""
    from peft import LoraConfig, get_peft_model

    make: Callable[..., Any] = get_peft_model
    targets = adapters.targets if isinstance(adapters.targets, str) else list(adapters.targets)
    config = LoraConfig(
        r=adapters.rank, lora_alpha=2 * adapters.rank, lora_dropout=adapters.dropout, target_modules=targets
    )
    if adapters.quantised_base:
        quantised.quantise(model, model.dtype)
        config._register_custom_module(quantised.adapter_layers())
    with torch.device(device):
        found = make(model, config, autocast_adapter_dtype=adapters.dtype == "fp32")
    dtype = getattr(torch, WEIGHTS[adapters.dtype])
    for p in found.parameters():
        if p.requires_grad:  # peft gives adapters the base's type, but leaves those on `meta` as they are
            p.data = p.data.to(dtype)
    return found


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' remarks on odd configs and random weights."""
    import warnings

    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.set_verbosity(before)


def log_of(case: Case, *, layers: int | None = None) -> list[Step]:
    """The births and deaths of a run, for a closer look."""
    with quiet():
        model = model_of(case, DEVICE, layers=layers)
        tracker = Tracker(DEVICE, kernels=kernel_bytes)
        steps_of(model, case, tracker)
    return tracker.steps

"""bitsandbytes' optimizers on tensors without storage: their own states and loop, with the kernels left out.

A CUDA kernel updates parameter and states in place, so leaving it out changes no memory. The library's trainer keeps
the states of embeddings in 32 bit. Paged states lie in memory that CUDA moves to the host and are not simulated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from validation.simulate.case import CaseError
from validation.simulate.patching import replaced

KERNELS = ("optimizer_update_32bit", "optimizer_update_8bit_blockwise")
OPTIMIZERS = {"adamw-8bit": ("AdamW", 8), "lion": ("Lion", 32), "lion-8bit": ("Lion", 8)}
"""Classes of `bitsandbytes.optim` and the bits of their states."""


def optimizer(name: str, model: Any, parameters: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """The optimizer as the library's trainer makes it. Raises CaseError where bitsandbytes is not installed."""
    if find_spec("bitsandbytes") is None:
        raise CaseError(f"the optimizer {name} is that of bitsandbytes, which is not installed")
    from bitsandbytes import optim

    kind, bits = OPTIMIZERS[name]
    make: Callable[..., torch.optim.Optimizer] = getattr(optim, kind)
    made = make(parameters, lr=rate, optim_bits=bits)
    if bits < 32:
        manager = optim.GlobalOptimManager.get_instance()
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                manager.register_module_override(module, "weight", {"optim_bits": 32})
    return made


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Updates in place do nothing, for as long as the context lasts."""
    if find_spec("bitsandbytes") is None:
        yield
        return
    functional = import_module("bitsandbytes.functional")
    with contextlib.ExitStack() as patches:
        for name in KERNELS:
            patches.enter_context(replaced(functional, name, lambda *_, **__: None))
        yield

"""Makes code on `meta` tensors take the paths it would take on a GPU, for as long as a context lasts.

`meta` tensors have shapes, types and strides, run every operation and autograd, and hold no memory. What CUDA does
differently is put in here: attention kernels, dropout with a mask, autocast, fused optimizers, and the branches that
transformers takes when it sees no values. Everything is undone at the end.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch.nn import functional

from validation.simulate import attention
from validation.simulate.autocast import Autocast
from validation.simulate.patching import replaced

GROUPED_MM = (9, 0)
"""The compute capability told to libraries that ask for one: it lets them take grouped expert kernels."""


@contextlib.contextmanager
def like_cuda() -> Iterator[Counter[str]]:
    """Take the paths of a GPU; yields a count of the attention kernels used."""
    used: Counter[str] = Counter()
    active: list[torch.dtype] = []
    with contextlib.ExitStack() as patches:
        for target, name, value in (*_torch_patches(used, active), *_transformers_patches(active)):
            patches.enter_context(replaced(target, name, value))
        _register_flash_package()
        yield used


def dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """CUDA keeps a one-byte mask beside the result; `inplace` makes no difference to that."""
    if not training or not 0 < p < 1:
        return x
    return torch.native_dropout(x, p, True)[0]


def _torch_patches(used: Counter[str], active: list[torch.dtype]) -> Iterator[tuple[Any, str, Any]]:
    def computing() -> torch.dtype | None:
        return active[-1] if active else None

    yield functional, "scaled_dot_product_attention", attention.scaled_dot_product_attention(used, computing)
    yield functional, "dropout", dropout
    yield torch, "autocast", _autocast(active)
    real_enabled = torch.is_autocast_enabled
    yield torch, "is_autocast_enabled", lambda *device: bool(active) if not device else real_enabled(*device)
    yield (
        import_module("torch.optim.optimizer"),
        "_get_fused_kernels_supported_devices",
        lambda: ["cuda", "cpu", "meta"],
    )
    yield torch.cuda, "get_device_capability", lambda *_: GROUPED_MM
    yield torch.cuda, "is_bf16_supported", lambda *_, **__: True


def _transformers_patches(active: list[torch.dtype]) -> Iterator[tuple[Any, str, Any]]:
    import transformers.masking_utils
    import transformers.modeling_utils
    import transformers.utils.import_utils

    yield transformers.utils.import_utils, "is_fake_tensor", lambda _: False
    yield transformers.masking_utils, "fast_all", lambda _: True
    yield transformers.modeling_utils, "checkpoint", _checkpoint(active)


def _autocast(active: list[torch.dtype]) -> Callable[..., Any]:
    real = torch.autocast

    def region(device_type: str, dtype: torch.dtype = torch.bfloat16, enabled: bool = True, **options: Any) -> Any:
        if device_type != "meta":
            return real(device_type, dtype=dtype, enabled=enabled, **options)
        return Autocast(dtype, active) if enabled else contextlib.nullcontext()

    return region


def _checkpoint(active: list[torch.dtype]) -> Callable[..., Any]:
    """A checkpointed layer is recomputed under the autocast region its forward ran in."""
    import torch.utils.checkpoint

    real: Callable[..., Any] = torch.utils.checkpoint.checkpoint

    def checkpoint(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if not active:
            return real(function, *args, **options)
        dtype = active[-1]

        def under_autocast(*a: Any, **k: Any) -> Any:
            with contextlib.nullcontext() if active else Autocast(dtype, active):
                return function(*a, **k)

        return real(under_autocast, *args, **options)

    return checkpoint


def _register_flash_package() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, flash_attention_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(attention.PACKAGE, attention.flash_package)
    ALL_MASK_ATTENTION_FUNCTIONS.register(attention.PACKAGE, flash_attention_mask)

"""KV caches of Transformers as a plan asks for them: of fixed size, in 8 bits, or partly in host memory.

The library's own caches do the work. Of a cache that lies partly in host memory the last layers do, as they are read
last; on a GPU the library copies the next layer in while one computes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from validation.formats import UnsupportedError, needs

if TYPE_CHECKING:
    from transformers import Cache, PretrainedConfig

WIDE = ("", "bf16", "fp16", "fp32", "auto")
"""Precisions in which the cache holds what the model computes in."""
EIGHT_BIT = ("fp8", "int8")


def check(kv_precision: str, *, layout: str, share: float) -> None:
    """Refuse caches that the library does not have. Raises UnsupportedError."""
    if kv_precision not in (*WIDE, *EIGHT_BIT):
        raise UnsupportedError(f"transformers keeps no KV cache in {kv_precision}")
    if kv_precision in EIGHT_BIT and (share or layout == "static"):
        raise UnsupportedError(f"a KV cache in {kv_precision} is replayed growing and on the GPU")


def cache_of(
    config: PretrainedConfig, *, kv_precision: str, layout: str, share: float, max_tokens: int, device: str
) -> Cache | None:
    """An empty cache; None = the growing one that the model makes itself. `share` of its layers lie in host memory.

    Raises UnsupportedError for what the installed transformers has no cache for.
    """
    from transformers import StaticCache

    if kv_precision in EIGHT_BIT:
        return quantised(config, kv_precision)
    static = layout == "static"
    if share:
        fixed = max_tokens if static else 0
        return partly_in_host_memory(config, share=share, on_gpu=device == "cuda", static_tokens=fixed)
    return StaticCache(config=config, max_cache_len=max_tokens) if static else None


def quantised(config: PretrainedConfig, kv_precision: str) -> Cache:
    """The library's cache in 8 bits: `fp8` of its own, `int8` by hqq."""
    from transformers import QuantizedCache

    if kv_precision == "int8":
        needs("hqq", why="an 8-bit KV cache of transformers")
    options: dict[str, Any] = {"backend": "fp8"} if kv_precision == "fp8" else {"backend": "hqq", "nbits": 8}
    try:
        return QuantizedCache(config=config, **options)
    except ValueError as err:  # an older version without this backend; layers that no such cache holds
        raise UnsupportedError(f"the installed transformers makes no KV cache in {kv_precision} here: {err}") from None


def layers_in_host_memory(num_layers: int, share: float) -> range:
    """The last layers, as many as the share rounds to; at least one where anything is to lie there.

    >>> list(layers_in_host_memory(4, 0.5)), list(layers_in_host_memory(32, 0.01)), list(layers_in_host_memory(2, 1.0))
    ([2, 3], [31], [0, 1])
    """
    return range(num_layers - max(1, round(share * num_layers)), num_layers)


def partly_in_host_memory(config: PretrainedConfig, *, share: float, on_gpu: bool, static_tokens: int = 0) -> Cache:
    """The library's offloaded cache, which gives only some layers away.

    Without a GPU there are no streams to copy in; there the layers are moved one by one, which moves nothing.
    """
    from transformers import DynamicCache, StaticCache

    kind: Any = StaticCache if static_tokens else DynamicCache
    options: dict[str, Any] = {"max_cache_len": static_tokens} if static_tokens else {}

    made: Any = kind(config=config, offloading=on_gpu, offload_only_non_sliding=False, **options)
    outside = layers_in_host_memory(len(made.layers), share)
    give_away, update = made.offload, made.update

    def offload(layer_idx: int, only_non_sliding: bool = False) -> None:
        if layer_idx in outside:
            give_away(layer_idx, only_non_sliding)

    def moved_one_by_one(keys: Any, values: Any, layer_idx: int, *rest: Any, **options: Any) -> Any:
        made.layers[layer_idx].prefetch()
        found = update(keys, values, layer_idx, *rest, **options)
        offload(layer_idx)
        return found

    made.offload = offload
    if not on_gpu:
        made.update = moved_one_by_one
    cache: Cache = made
    return cache

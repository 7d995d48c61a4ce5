"""Microbenchmarks of one device: matrix products, copies, attention, launches. What `plan calibrate` measures.

    python -m validation.micro SUITE.json RESULT.json --device cuda|cpu

The suite lists shapes; every figure is the median of several timed repetitions after a warm-up, with operands rotated
so that a cache does not answer for memory.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validation.device import Cpu, device_of, median_s, repeated
from validation.formats import dtype_of
from validation.worker import first_line, versions, write_result

if TYPE_CHECKING:
    import torch

REPEATS = 9
INNER = 10
"""Calls in one timed repetition of a short operation."""
ROTATED_BYTES = 512 * 2**20
"""Operands are rotated until so many bytes have been touched, which no cache holds."""
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


def measure(suite: Mapping[str, Any], device: Cpu) -> dict[str, Any]:
    """Every figure of the suite, in seconds or bytes per second."""
    return {
        "products": [product(device, one) for one in suite.get("products", ())],
        "attention": [attention(device, one) for one in suite.get("attention", ())],
        "decode_attention": [decode_attention(device, one) for one in suite.get("decode_attention", ())],
        "copy_bytes_per_second": copies(device, int(suite["copy_bytes"])),
        "host_link_bytes_per_second": host_copies(device, int(suite["host_bytes"])),
        "launch_s": launches(device),
    }


def median_of(device: Cpu, work: Callable[[], Any], *, inner: int = 1) -> float:
    """Median seconds of one call."""
    work()
    return median_s(repeated(device, lambda: [work() for _ in range(inner)], times=REPEATS)) / inner


def product(device: Cpu, one: Mapping[str, Any]) -> dict[str, Any]:
    """(rows x depth) by (depth x columns); few rows rotate weights, as the layers of a model do."""
    import torch

    dtype = dtype_of(DTYPES[one["dtype"]])
    rows, columns, depth = int(one["rows"]), int(one["columns"]), int(one["depth"])
    size = columns * depth * dtype.itemsize
    copies = max(1, min(16, ROTATED_BYTES // size)) if device.kind == "cuda" else 2
    left = torch.randn(rows, depth, device=device.kind, dtype=dtype)
    right = [torch.randn(columns, depth, device=device.kind, dtype=dtype) for _ in range(copies)]

    def run() -> None:
        for weight in right:
            torch.nn.functional.linear(left, weight)

    return {**one, "seconds": median_of(device, run) / copies}


def attention(device: Cpu, one: Mapping[str, Any]) -> dict[str, Any]:
    """Causal attention over whole prompts, as prefill runs it."""
    import torch

    query, key, value = heads(device, one, queries=int(one["tokens"]))

    def run() -> Any:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

    return {**one, "seconds": median_of(device, run)}


def decode_attention(device: Cpu, one: Mapping[str, Any]) -> dict[str, Any]:
    """One new token for each sequence against its cache."""
    import torch

    query, key, value = heads(device, one, queries=1)

    def run() -> Any:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)

    return {**one, "seconds": median_of(device, run, inner=INNER)}


def heads(device: Cpu, one: Mapping[str, Any], *, queries: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values of some sequences."""
    import torch

    dtype = dtype_of(DTYPES[one.get("dtype", "bf16")])
    batch, tokens, width = int(one["sequences"]), int(one["tokens"]), int(one["head_dim"])

    def made(num_heads: int, length: int) -> torch.Tensor:
        return torch.randn(batch, num_heads, length, width, device=device.kind, dtype=dtype)

    return made(int(one["heads"]), queries), made(int(one["kv_heads"]), tokens), made(int(one["kv_heads"]), tokens)


def copies(device: Cpu, size: int) -> float:
    """Bytes read and written per second by a copy on the device."""
    import torch

    source = torch.empty(size, dtype=torch.uint8, device=device.kind)
    target = torch.empty_like(source)
    return 2 * size / median_of(device, lambda: target.copy_(source))


def host_copies(device: Cpu, size: int) -> float:
    """Bytes per second from pinned host memory to the device; on a CPU between two places of host memory."""
    import torch

    held = torch.empty(size, dtype=torch.uint8)
    source = held.pin_memory() if device.kind == "cuda" else held
    target = torch.empty(size, dtype=torch.uint8, device=device.kind)
    return size / median_of(device, lambda: target.copy_(source, non_blocking=True))


def launches(device: Cpu) -> float:
    """Seconds from one tiny kernel to the next."""
    import torch

    one = torch.zeros(1, device=device.kind)
    return median_of(device, lambda: one.add_(1), inner=200)


def main() -> None:
    """Read the suite, measure, write the result."""
    parser = argparse.ArgumentParser(prog="python -m validation.micro", description="Measure one device.")
    parser.add_argument("suite", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    asked = parser.parse_args()
    try:
        device = device_of(asked.device)
        figures = measure(json.loads(asked.suite.read_text(encoding="utf-8")), device)
        result: dict[str, Any] = {"state": "ok", "micro": figures, "device": device.facts()}
    except (RuntimeError, ValueError, KeyError, TypeError) as err:
        state = "oom" if "out of memory" in str(err).casefold() else "error"
        result = {"state": state, "detail": f"{type(err).__name__}: {first_line(err)}"}
    write_result(asked.result, result | {"versions": versions()})


if __name__ == "__main__":
    main()

"""A model file for llama.cpp with random weights: the tensors, types and metadata of a real one, and no vocabulary.

llama.cpp loads every tensor of a GGUF file (version 3, github.com/ggml-org/ggml docs/gguf.md), so dummy weights are a
file of that size. Which tensor is packed how follows llama.cpp's own quantiser (`llama_tensor_get_type`). Values mean
nothing: scales are small, all else is random bits.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

VERSION, ALIGNMENT = 3, 32
UINT32, FLOAT32, STRING = 4, 6, 8
"""Types of metadata values."""
SCALE = struct.pack("<e", 1e-3)
CHUNK_BLOCKS = 8192
"""Random blocks drawn for a type; they repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How ggml packs a row of values: `size` of them into a block of `block_bytes`, with 16-bit scales at `scales`."""

    number: int
    size: int
    block_bytes: int
    scales: tuple[int, ...] = ()


F32 = Packing(number=0, size=1, block_bytes=4)
F16 = Packing(number=1, size=1, block_bytes=2)
Q4_0 = Packing(number=2, size=32, block_bytes=18, scales=(0,))
Q8_0 = Packing(number=8, size=32, block_bytes=34, scales=(0,))
Q4_K = Packing(number=12, size=256, block_bytes=144, scales=(0, 2))
Q5_K = Packing(number=13, size=256, block_bytes=176, scales=(0, 2))
Q6_K = Packing(number=14, size=256, block_bytes=210, scales=(208,))
"""ggml's types, their blocks as in ggml-common.h."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """What a file's format means tensor by tensor."""

    base: Packing
    more: Packing
    """Of the values and the last product of the MLP, in the layers that get more bits."""
    head: Packing
    """Of the head, or of the embeddings where they serve as one."""


MIXES: Mapping[str, Mix] = MappingProxyType(
    {
        "gguf-f16": Mix(base=F16, more=F16, head=F16),
        "gguf-q8_0": Mix(base=Q8_0, more=Q8_0, head=Q8_0),
        "gguf-q6_k": Mix(base=Q6_K, more=Q6_K, head=Q6_K),
        "gguf-q5_k_m": Mix(base=Q5_K, more=Q6_K, head=Q6_K),
        "gguf-q4_k_m": Mix(base=Q4_K, more=Q6_K, head=Q6_K),
        "gguf-q4_0": Mix(base=Q4_0, more=Q4_0, head=Q6_K),
    }
)
FAMILIES: Mapping[str, str] = MappingProxyType(
    {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
)
"""llama.cpp's names of the families whose tensors are known here."""


class GgufError(ValueError):
    """A model file that cannot be made here, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor: `row` values lie side by side, `rows` such rows one after another."""

    name: str
    row: int
    rows: int
    packing: Packing

    @property
    def num_bytes(self) -> int:
        """In the file."""
        return self.row // self.packing.size * self.packing.block_bytes * self.rows


def write_gguf(keys: Mapping[str, Any], precision: str, path: Path) -> Path:
    """Write the model with these keys of a config.json. Raises GgufError for a family or format not known here."""
    family, mix = FAMILIES.get(str(keys.get("model_type"))), MIXES.get(precision)
    if family is None or mix is None:
        known = f"families {', '.join(FAMILIES)}; formats {', '.join(MIXES)}"
        raise GgufError(f"no random file of {keys.get('model_type')} in {precision} can be made ({known})")
    tensors = list(tensors_of(keys, family, mix))
    for tensor in tensors:
        if tensor.row % tensor.packing.size:
            raise GgufError(f"{tensor.name}: rows of {tensor.row} values do not divide into {tensor.packing.size}")
    with path.open("wb") as file:
        pairs = list(metadata(keys, family))
        file.write(b"GGUF" + struct.pack("<IQQ", VERSION, len(tensors), len(pairs)) + b"".join(pairs))
        offset = 0
        for tensor in tensors:
            file.write(text(tensor.name) + struct.pack("<I", 1 if tensor.rows == 1 else 2))
            file.write(struct.pack("<Q", tensor.row) + (b"" if tensor.rows == 1 else struct.pack("<Q", tensor.rows)))
            file.write(struct.pack("<IQ", tensor.packing.number, offset))
            offset += aligned(tensor.num_bytes)
        file.write(bytes(aligned(file.tell()) - file.tell()))
        chunks = {t.packing.number: random_blocks(t.packing) for t in tensors}
        for tensor in tensors:
            fill(file, chunks[tensor.packing.number], tensor.num_bytes)
    return path


def tensors_of(keys: Mapping[str, Any], family: str, mix: Mix) -> Iterator[Tensor]:
    """Every tensor of the model, as llama.cpp names and shapes them."""
    hidden, wide, heads = int(keys["hidden_size"]), int(keys["intermediate_size"]), int(keys["num_attention_heads"])
    kv_heads = int(keys.get("num_key_value_heads") or heads)
    width, vocabulary = int(keys.get("head_dim") or hidden // heads), int(keys["vocab_size"])
    tied, layers = bool(keys.get("tie_word_embeddings")), int(keys["num_hidden_layers"])
    yield Tensor(name="token_embd.weight", row=hidden, rows=vocabulary, packing=mix.head if tied else mix.base)
    yield Tensor(name="output_norm.weight", row=hidden, rows=1, packing=F32)
    if not tied:
        yield Tensor(name="output.weight", row=hidden, rows=vocabulary, packing=mix.head)
    for layer in range(layers):
        more = mix.more if gets_more_bits(layer, layers) else mix.base
        plain = {"attn_norm": hidden, "ffn_norm": hidden}
        if family == "qwen2":
            plain |= {"attn_q.bias": heads * width, "attn_k.bias": kv_heads * width, "attn_v.bias": kv_heads * width}
        if family == "qwen3":
            plain |= {"attn_q_norm": width, "attn_k_norm": width}
        for name, size in plain.items():
            whole = name if name.endswith("bias") else f"{name}.weight"
            yield Tensor(name=f"blk.{layer}.{whole}", row=size, rows=1, packing=F32)
        products = {
            "attn_q": (hidden, heads * width, mix.base),
            "attn_k": (hidden, kv_heads * width, mix.base),
            "attn_v": (hidden, kv_heads * width, more),
            "attn_output": (heads * width, hidden, mix.base),
            "ffn_gate": (hidden, wide, mix.base),
            "ffn_up": (hidden, wide, mix.base),
            "ffn_down": (wide, hidden, more),
        }
        for name, (row, rows, packing) in products.items():
            yield Tensor(name=f"blk.{layer}.{name}.weight", row=row, rows=rows, packing=packing)


def gets_more_bits(layer: int, layers: int) -> bool:
    """The first and last eighth of the layers and every third between (llama.cpp's `use_more_bits`).

    >>> sum(gets_more_bits(i, 32) for i in range(32))
    16
    """
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def metadata(keys: Mapping[str, Any], family: str) -> Iterator[bytes]:
    """Key-value pairs that llama.cpp needs to run the model. Without a vocabulary it makes that many dummy tokens."""
    heads, hidden = int(keys["num_attention_heads"]), int(keys["hidden_size"])
    width = int(keys.get("head_dim") or hidden // heads)
    rope = keys.get("rope_parameters") or {}
    yield pair("general.architecture", family)
    yield pair("general.name", "random weights")
    yield pair("tokenizer.ggml.model", "no_vocab")
    for name, value in {
        "context_length": int(keys.get("max_position_embeddings") or 4096),
        "embedding_length": hidden,
        "block_count": int(keys["num_hidden_layers"]),
        "feed_forward_length": int(keys["intermediate_size"]),
        "attention.head_count": heads,
        "attention.head_count_kv": int(keys.get("num_key_value_heads") or heads),
        "attention.key_length": width,
        "attention.value_length": width,
        "rope.dimension_count": width,
        "vocab_size": int(keys["vocab_size"]),
        "attention.layer_norm_rms_epsilon": float(keys.get("rms_norm_eps") or 1e-6),
        "rope.freq_base": float(keys.get("rope_theta") or rope.get("rope_theta") or 10000.0),
    }.items():
        yield pair(f"{family}.{name}", value)


def pair(key: str, value: str | int | float) -> bytes:
    """One key with its value, by the value's type."""
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STRING) + text(value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", UINT32, value)
    return text(key) + struct.pack("<If", FLOAT32, value)


def text(value: str) -> bytes:
    """A string with its length before it."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def aligned(num_bytes: int) -> int:
    """Up to where the next tensor may begin.

    >>> aligned(32), aligned(33)
    (32, 64)
    """
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


def random_blocks(packing: Packing) -> bytes:
    """Many blocks of random bits with scales small enough that no sum of them overflows."""
    drawn = random.Random(packing.number)
    if packing.size == 1:
        shape = f"<{CHUNK_BLOCKS}{'f' if packing.block_bytes == 4 else 'e'}"
        return struct.pack(shape, *(drawn.gauss(0.0, 0.02) for _ in range(CHUNK_BLOCKS)))
    blocks = bytearray(drawn.randbytes(CHUNK_BLOCKS * packing.block_bytes))
    for start in range(0, len(blocks), packing.block_bytes):
        for place in packing.scales:
            blocks[start + place : start + place + len(SCALE)] = SCALE
    return bytes(blocks)


def fill(file: IO[bytes], chunk: bytes, num_bytes: int) -> None:
    """Write a chunk over and over until so many bytes are there, then zeros up to the next tensor."""
    whole, rest = divmod(num_bytes, len(chunk))
    for _ in range(whole):
        file.write(chunk)
    file.write(chunk[:rest] + bytes(aligned(num_bytes) - num_bytes))

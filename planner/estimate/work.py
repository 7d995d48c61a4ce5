"""What there is to do: FLOP and bytes of models, exact and independent of hardware.

Conventions: one multiply-add is two FLOP; embedding look-ups cost nothing; norms, activations and rotary embeddings
are not counted (under 1 % of the FLOP). Attention is counted for the pairs a mask leaves: half the square for causal
attention, a band for windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np

from planner.architecture.types import Attention, Block, Model, Recurrent, Role, Stack, Tensor
from planner.catalog.types import PrecisionFormat
from planner.estimate.formats import bits_of
from planner.estimate.memory.states import adapter_params
from planner.estimate.types import Floats, LoraJob
from planner.units import BITS_PER_BYTE

Split = Literal["columns", "rows", "none"]
Meets = Literal["tokens", "other_tokens", "sequences"]
ROW_SPLIT_NAMES = frozenset({"o_proj", "down_proj", "out_proj", "fc2_latent_proj", "cross_o_proj"})
"""Second halves of a tensor-parallel pair: the inner dimension is divided."""
REPLICATED_NAMES = frozenset({"q_a_proj", "kv_a_proj", "wk", "fc1_latent_proj", "f_a_proj", "g_a_proj"})
"""Low-rank halves that every GPU of a tensor-parallel group holds in full."""
FUSED_NAMES: tuple[tuple[str, ...], ...] = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("q_a_proj", "kv_a_proj"),
)
"""Products that serving engines merge because they read the same input."""
FLOP_PER_MAC = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One matrix product of one layer: each token meets `per_token` of `copies` weights of out x in."""

    name: str
    role: Role
    out_features: int
    in_features: int
    bytes_per_weight: float
    quantised: bool
    """Stored in the format's own type, so computed in it where the hardware can."""
    split: Split
    copies: int = 1
    """Routed experts of the layer; 1 otherwise."""
    per_token: int = 1
    meets: Meets = "tokens"
    """Whether it is applied to every token, to the tokens of the other stack (keys and values of cross attention,
    the text side of an image transformer), or once to each sequence (modulation by the time step)."""

    @property
    def weights(self) -> int:
        """Weights of all copies."""
        return self.out_features * self.in_features * self.copies

    @property
    def flop_per_token(self) -> int:
        """Forward FLOP of one token."""
        return FLOP_PER_MAC * self.out_features * self.in_features * self.per_token


def layer_products(block: Block, fmt: PrecisionFormat, *, fused: bool = False) -> tuple[Product, ...]:
    """The matrix products of one layer; `fused` merges those that read the same input."""
    products = tuple(_product(t, fmt, block) for t in block.tensors if multiplies(t))
    return tuple(_merged(products)) if fused else products


def multiplies(tensor: Tensor) -> bool:
    """The tensor enters a matrix product; convolutions do, with one row for every position."""
    return tensor.is_matrix or (tensor.role == "conv" and tensor.in_features > 1)


def _meets(name: str) -> Meets:
    if name.endswith("modulation"):
        return "sequences"
    return "other_tokens" if name in ("cross_k_proj", "cross_v_proj") or name.startswith("context_") else "tokens"


def _product(tensor: Tensor, fmt: PrecisionFormat, block: Block) -> Product:
    moe = block.moe
    bits = bits_of(tensor, fmt, block.stack)
    split: Split = "columns"
    if tensor.name in ROW_SPLIT_NAMES:
        split = "rows"
    elif tensor.name in REPLICATED_NAMES or tensor.role == "router":
        split = "none"
    routed = moe is not None and tensor.role == "expert"
    return Product(
        name=tensor.name,
        role=tensor.role,
        out_features=tensor.out_features,
        in_features=tensor.in_features,
        bytes_per_weight=bits / BITS_PER_BYTE,
        quantised=is_quantised(tensor, fmt, block.stack),
        split=split,
        copies=tensor.count,
        per_token=moe.top_k if moe is not None and routed else tensor.count,
        meets=_meets(tensor.name),
    )


def is_quantised(tensor: Tensor, fmt: PrecisionFormat, stack: Stack = "decoder") -> bool:
    """The tensor is stored in fewer bits than the format leaves its unquantised tensors."""
    return bits_of(tensor, fmt, stack) < min(fmt.unquantised_bits, 16.0)


def _merged(products: Iterable[Product]) -> Iterator[Product]:
    """Products of one fused group and role as one, in the place of the first."""
    groups: dict[tuple[object, ...], list[Product]] = {}
    for product in products:
        group = next((g for g in FUSED_NAMES if product.name in g), (product.name,))
        groups.setdefault((group, product.role, product.in_features, product.meets), []).append(product)
    for members in groups.values():
        first = members[0]
        rows = sum(m.out_features for m in members)
        stored = sum(m.out_features * m.bytes_per_weight for m in members)
        yield Product(
            name="+".join(m.name for m in members),
            role=first.role,
            out_features=rows,
            in_features=first.in_features,
            bytes_per_weight=stored / rows,
            quantised=first.quantised,
            split=first.split,
            copies=first.copies,
            per_token=first.per_token,
            meets=first.meets,
        )


def head_product(model: Model, fmt: PrecisionFormat) -> Product | None:
    """The projection onto the vocabulary; None where the model has no such head."""
    if not model.has_head:
        return None
    for name in ("lm_head", "shared", "embed_tokens", "wte", "word_embeddings"):
        tensor = next((t for t in model.outer if t.name == name and t.in_features > 1), None)
        if tensor is not None:
            return Product(
                name="lm_head",
                role="head",
                out_features=model.vocab_size,
                in_features=tensor.in_features,
                bytes_per_weight=bits_of(tensor, fmt) / BITS_PER_BYTE,
                quantised=is_quantised(tensor, fmt),
                split="columns",
            )
    return None


def distinct_experts(num_experts: int, top_k: int, tokens: Floats) -> Floats:
    """Experts of one layer that at least one of `tokens` reaches, for uniform independent routing.

    An expert stays idle with probability (1 - k/E) per token.

    >>> round(float(distinct_experts(128, 8, np.array([16.0]))[0]), 1)
    82.4
    >>> round(float(distinct_experts(256, 8, np.array([64.0]))[0]), 1)
    222.4
    """
    reached: Floats = -num_experts * np.expm1(tokens * np.log1p(-min(top_k / num_experts, 1.0 - 1e-12)))
    return reached


@overload
def attended_pairs(attention: Attention, tokens: float) -> float: ...
@overload
def attended_pairs(attention: Attention, tokens: Floats) -> Floats: ...
def attended_pairs(attention: Attention, tokens: float | Floats) -> float | Floats:
    """Query-key pairs that one sequence of `tokens` tokens computes in one layer, forward.

    Causal: token i sees i tokens, i.e. s(s + 1)/2 in all. A window w caps that at w; chunks of w start anew.
    Bidirectional attention sees the full square, or a band of w.
    """
    s = np.asarray(tokens, dtype=np.float64)
    window = attention.window
    if not attention.causal:
        pairs = s * (s if window is None else np.minimum(s, window))
    elif window is None:
        pairs = s * (s + 1) / 2
    elif attention.kind == "chunked":
        whole, rest = np.divmod(s, window)
        pairs = whole * window * (window + 1) / 2 + rest * (rest + 1) / 2
    else:
        head = np.minimum(s, window)
        pairs = head * (head + 1) / 2 + (s - head) * window
    return float(pairs) if np.ndim(pairs) == 0 else pairs


def visible_tokens(attention: Attention, context: Floats) -> Floats:
    """Cached tokens that one new token attends to, with `context` tokens before it."""
    if attention.window is None:
        return context
    if attention.kind == "chunked":
        within = np.mod(context, attention.window)
        return np.where(context > attention.window, np.maximum(within, 1.0), context)
    return np.minimum(context, attention.window)


def flop_per_pair(attention: Attention, *, decode: bool) -> int:
    """FLOP of one query-key pair over all heads: scores and weighted values.

    Latent attention decodes against the cached latent itself (absorbed projections), and expands keys and values to
    full heads in prefill.
    """
    if decode and attention.kind == "latent" and attention.kv_lora_rank is not None:
        width = 2 * attention.kv_lora_rank + (attention.rope_dim or 0)
        return FLOP_PER_MAC * attention.num_heads * width
    return FLOP_PER_MAC * attention.num_heads * (attention.head_dim + attention.value_dim)


def cached_bytes_per_token(attention: Attention, kv_bits: float) -> float:
    """Bytes of one layer's cache for one token (one byte for each value of a sparse-attention indexer)."""
    return attention.kv_values_per_token * kv_bits / BITS_PER_BYTE + attention.index_values_per_token


def state_bytes(recurrent: Recurrent) -> float:
    """Bytes of one layer's recurrent state of one sequence: state in 16 or 32 bit, convolution in 16."""
    return recurrent.state_values * (4.0 if recurrent.state_is_fp32 else 2.0) + recurrent.conv_values * 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Forward FLOP by kind."""

    linear_flop: float
    attention_flop: float
    recurrent_flop: float
    head_flop: float

    @property
    def total_flop(self) -> float:
        return self.linear_flop + self.attention_flop + self.recurrent_flop + self.head_flop


def linear_flop_per_token(block: Block, meets: Meets = "tokens") -> int:
    """Forward FLOP of one token (or what else it `meets`) through the matrices of one layer: active experts only."""
    total = 0
    for tensor in block.tensors:
        if multiplies(tensor) and _meets(tensor.name) == meets:
            copies = block.moe.top_k if block.moe is not None and tensor.role == "expert" else tensor.count
            total += FLOP_PER_MAC * tensor.out_features * tensor.in_features * copies
    return total


def forward_work(model: Model, tokens: int, *, logits: Literal["last", "all"]) -> Work:
    """FLOP of one forward pass of the main stack over one sequence of `tokens` tokens.

    Serving computes the vocabulary projection for the last position only, training for all.
    """
    blocks = [b for b in main_blocks(model)]
    linear = sum(b.num_layers * linear_flop_per_token(b) for b in blocks) * tokens
    attended = sum(
        b.num_layers * flop_per_pair(a, decode=False) * attended_pairs(a, float(tokens))
        for b in blocks
        if (a := b.attention) is not None
    )
    crossed = sum(
        b.num_layers * flop_per_pair(a, decode=False) * float(tokens) * tokens
        for b in blocks
        if (a := b.cross_attention) is not None
    )
    scanned = sum(b.num_layers * b.recurrent.flop_per_token for b in blocks if b.recurrent is not None) * tokens
    head = head_size(model)
    positions = 1 if logits == "last" else tokens
    return Work(
        linear_flop=float(linear),
        attention_flop=float(attended + crossed),
        recurrent_flop=float(scanned),
        head_flop=float(FLOP_PER_MAC * head * positions),
    )


def pass_flop(block: Block, *, tokens: float, length: float, cross_length: float) -> float:
    """FLOP of all layers of the block over `tokens` tokens, of which `length` at a time attend to each other.

    Every sequence of `length` tokens meets `cross_length` tokens of the other stack.
    """
    sequences = tokens / length
    total = linear_flop_per_token(block) * tokens
    total += linear_flop_per_token(block, "other_tokens") * sequences * cross_length
    total += linear_flop_per_token(block, "sequences") * sequences
    if block.attention is not None:
        total += flop_per_pair(block.attention, decode=False) * attended_pairs(block.attention, length) * sequences
    if block.cross_attention is not None:
        total += flop_per_pair(block.cross_attention, decode=False) * tokens * cross_length
    if block.recurrent is not None:
        total += block.recurrent.flop_per_token * tokens
    return block.num_layers * total


def decode_flop(model: Model, context: Floats, *, cross_length: float = 0.0) -> Floats:
    """FLOP of one generated token with `context` tokens cached and `cross_length` tokens of the encoder or images."""
    blocks = list(model.stack("decoder"))
    fixed = sum(b.num_layers * linear_flop_per_token(b) for b in blocks)
    fixed += sum(b.num_layers * b.recurrent.flop_per_token for b in blocks if b.recurrent is not None)
    total = np.asarray(context, dtype=np.float64) * 0.0 + fixed + FLOP_PER_MAC * head_size(model)
    for block in blocks:
        if block.attention is not None:
            pairs = visible_tokens(block.attention, context)
            total = total + block.num_layers * flop_per_pair(block.attention, decode=True) * pairs
        if block.cross_attention is not None:
            total = total + block.num_layers * flop_per_pair(block.cross_attention, decode=True) * cross_length
    return total


def head_size(model: Model) -> int:
    """Weights of the vocabulary projection, tied or not; 0 where the model has no such head."""
    if not model.has_head:
        return 0
    width = next((t.in_features for t in model.outer if t.role in ("head", "embedding")), model.hidden_size)
    return model.vocab_size * width


def main_blocks(model: Model) -> Iterator[Block]:
    """The layers of the main stack: decoder and encoder, the denoiser, or the vision model itself."""
    if model.task == "diffusion":
        return model.stack("denoiser")
    if model.task == "vision":
        return model.stack("vision")
    return (b for b in model.blocks if b.stack in ("decoder", "encoder"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWork:
    """FLOP of one sequence through one training step."""

    model_flop: float
    """What learning needs: three forward passes (LoRA: two and the adapters' three); the numerator of MFU."""
    hardware_flop: float
    """With what checkpointing computes again."""


def training_work(
    model: Model, tokens: int, *, checkpointing: Literal["none", "selective", "full"], lora: LoraJob | None
) -> TrainingWork:
    """FLOP of forward and backward over one sequence.

    The backward pass of a product costs two products; a frozen weight needs no weight gradient, so one. Attention
    has no weights: its backward costs twice its forward. Full checkpointing repeats the forward of the layers,
    selective the attention core.
    """
    forward = forward_work(model, tokens, logits="all")
    layers = forward.linear_flop + forward.attention_flop + forward.recurrent_flop
    frozen = lora is not None
    weights = (2 if frozen else 3) * (forward.linear_flop + forward.head_flop)
    total = weights + 3 * (forward.attention_flop + forward.recurrent_flop)
    if lora is not None:
        total += 3 * FLOP_PER_MAC * adapter_params(model, lora) * tokens
    again = {"none": 0.0, "selective": forward.attention_flop, "full": layers}[checkpointing]
    return TrainingWork(model_flop=total, hardware_flop=total + again)

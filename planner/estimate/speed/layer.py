"""Time of one layer: its products, attention, elementwise kernels and collectives, one after another.

Kernels of a layer wait for each other, so their times add up; only inside one kernel do computing and moving data
overlap. A layer whose kernels are launched one by one never takes less than the launches (`layer_host_s`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.architecture.types import Attention, Block
from planner.estimate.speed.attention import (
    decode_time,
    prefill_time,
    recurrent_decode_time,
    recurrent_prefill_time,
)
from planner.estimate.speed.collectives import all_reduce_s, all_to_all_s
from planner.estimate.speed.gemm import expansion_time, product_time
from planner.estimate.speed.moe import expert_time
from planner.estimate.speed.setup import Setup, products_of
from planner.estimate.speed.times import Seconds, add
from planner.estimate.types import Floats
from planner.estimate.work import Product, attended_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass of one data-parallel rank."""

    rows: Floats
    """Tokens that meet the matrices."""
    sequences: Floats
    """Sequences they belong to."""
    length: Floats
    """Prefill: tokens of one sequence, whole. Decode: tokens cached before the new one."""
    decode: bool
    chunks: Floats
    """Passes that one sequence's prompt is cut into; attention of one pass is that share of the whole."""
    cross_length: float = 0.0
    """Tokens that cross attention sees."""


def layer_time(setup: Setup, block: Block, work: Pass) -> Seconds:
    """Seconds of one layer of the block, per GPU of the tensor-parallel group."""
    parts = [matrix_time(setup, block, product, work) for product in products_of(setup, block)]
    if block.attention is not None:
        parts.append(attention_time(setup, block.attention, work))
    if block.cross_attention is not None:
        parts.append(cross_time(setup, block.cross_attention, work))
    if block.recurrent is not None:
        mixer = recurrent_decode_time if work.decode else recurrent_prefill_time
        amount = {"sequences": work.sequences} if work.decode else {"tokens": work.rows}
        parts.append(mixer(setup.attention, setup.shared, block.recurrent, heads_split=setup.tensor_parallel, **amount))
    parts.append(elementwise_time(setup, block, work.rows))
    unmodelled = setup.engine.layer_overhead_s * num_halves(block) / 2.0
    unmodelled += setup.engine.expert_layer_s if block.moe is not None else 0.0
    on_gpu = add(*parts, Seconds(overhead=np.zeros(1) + unmodelled))
    waiting = Seconds(overhead=np.maximum(0.0, launch_s(setup, block, work.rows) - on_gpu.total_s))
    return add(on_gpu, waiting, Seconds(communication=collective_s(setup, block, work.rows)))


def launch_s(setup: Setup, block: Block, rows: Floats) -> Floats:
    """Seconds the CPU takes to launch one layer of the block for so many rows."""
    if setup.is_captured:
        return np.zeros(1) + setup.engine.layer_graph_s * num_halves(block) / 2.0
    experts = block.moe.num_experts if block.moe is not None else 0
    quantised = sum(p.quantised and p.role != "expert" for p in products_of(setup, block))
    plain = setup.engine.layer_host_s * num_halves(block) / 2.0 + experts * setup.engine.expert_host_s
    return (plain + quantised * setup.product_host_s(rows)) * setup.launch_factor


def matrix_time(setup: Setup, block: Block, product: Product, work: Pass) -> Seconds:
    """Seconds of one matrix product of one layer, per GPU."""
    if product.meets == "other_tokens" and work.decode:
        return Seconds()
    params = setup.narrow if product.quantised else setup.wide
    shared = setup.shared
    expands = setup.expands & product.quantised
    peak_factor = setup.quantised_peak_share if product.quantised else np.ones(1)
    if product.role == "expert" and block.moe is not None:
        time = expert_time(
            params,
            shared,
            product,
            block.moe,
            tokens=work.rows * setup.token_ranks,
            expert_ranks=setup.expert_ranks,
            expert_split=setup.expert_split,
            peak_factor=peak_factor,
        )
        time = time.times(setup.experts_here) if work.decode else time
        met = np.minimum(1.0, work.rows * setup.token_ranks * block.moe.top_k / block.moe.num_experts)
        held = met * product.weights / (setup.expert_ranks * setup.expert_split)
    else:
        of_attention = product.role in ("attention", "mixer")
        split = setup.attention_split if of_attention else setup.tensor_parallel
        if product.split == "none":
            split = np.ones(1)
        rows = work.rows * setup.row_share if of_attention else work.rows
        if product.meets == "other_tokens":
            rows = work.sequences * work.cross_length
        elif product.meets == "sequences":
            rows = work.sequences
        whole = np.ones(1)
        time = product_time(
            params,
            rows=rows,
            columns=product.out_features / (split if product.split == "columns" else whole),
            depth=product.in_features / (split if product.split == "rows" else whole),
            weight_bytes=product.bytes_per_weight,
            groups=float(product.copies),
            peak_factor=peak_factor,
        )
        held = product.weights / split
    if setup.job.weights.fused_dequant or not product.quantised:
        return time
    return time + weights_expansion(setup, product, held, work.rows).times(expands.astype(np.float64))


def weights_expansion(setup: Setup, product: Product, held: Floats, rows: Floats) -> Seconds:
    """Seconds to expand `held` weights of one GPU to 16 bit in a pass of their own, and to read them again.

    A library's kernel expands so many weights a second on each multiprocessor, at most at the speed of memory; a
    product with one row may read the stored weights themselves.
    """
    params, row = setup.narrow, setup.format_row
    plain = expansion_time(
        params,
        weights=held,
        stored_bytes=product.bytes_per_weight,
        bandwidth_share=setup.shared.dequant_bandwidth_share,
    )
    if row is None or row.expansion_weights_per_sm_s is None:
        return plain
    moved_s = held * (product.bytes_per_weight + 2.0) / params.reached_bytes_per_second
    expanded_s = held / (np.maximum(params.num_sms, 1.0) * row.expansion_weights_per_sm_s)
    read_s = held * 2.0 / params.reached_bytes_per_second
    own = Seconds(compute=np.maximum(expanded_s - moved_s, 0.0), memory_bandwidth=moved_s + read_s)
    known = np.where(params.num_sms > 0, 1.0, 0.0)
    whole = own.times(known) + plain.times(1.0 - known)
    return whole.times(np.where(rows <= 1.0, 0.0, 1.0)) if row.one_row_kernel else whole


def attention_time(setup: Setup, attention: Attention, work: Pass) -> Seconds:
    """Seconds of one layer's attention core, per GPU."""
    sequences = work.sequences * setup.row_share
    if work.decode:
        engine = setup.engine
        return decode_time(
            setup.attention,
            setup.shared,
            attention,
            context=work.length,
            sequences=sequences,
            heads_split=setup.attention_split,
            kv_bits=setup.job.kv_bits,
            copies=0.0 if setup.job.engine.options.get("kv_layout") == "static" else engine.kv_copies,
            repeats=engine.repeats_kv and setup.job.attention != "flash",
        )
    whole = prefill_time(
        setup.attention,
        setup.shared,
        attention,
        pairs=np.asarray(attended_pairs(attention, work.length)),
        length=work.length,
        sequences=sequences,
        heads_split=setup.attention_split,
        kernel=setup.job.attention,
        value_bytes=setup.value_bytes,
    )
    return whole.times(1.0 / work.chunks)


def cross_time(setup: Setup, attention: Attention, work: Pass) -> Seconds:
    """Seconds of one layer's attention to another stack's output, per GPU."""
    if work.decode:
        return decode_time(
            setup.attention,
            setup.shared,
            attention,
            context=np.full(1, work.cross_length),
            sequences=work.sequences,
            heads_split=setup.attention_split,
            kv_bits=setup.job.kv_bits,
        )
    return prefill_time(
        setup.attention,
        setup.shared,
        attention,
        pairs=work.rows / work.sequences * work.cross_length,
        length=np.full(1, max(work.cross_length, 1.0)),
        sequences=work.sequences,
        heads_split=setup.attention_split,
        kernel=setup.job.attention,
        value_bytes=setup.value_bytes,
    )


def elementwise_time(setup: Setup, block: Block, rows: Floats) -> Seconds:
    """Seconds of norms, residuals, rotary embeddings and activations of one layer, per GPU."""
    shared = setup.shared
    inner, copied = 0.0, np.zeros(1)
    if block.feed_forward is not None:
        inner += block.feed_forward.intermediate_size
    if block.moe is not None:
        inner += block.moe.top_k * block.moe.intermediate_size + block.moe.shared_intermediate_size
        copied = block.moe.top_k * block.moe.input_size / setup.expert_ranks
    if block.recurrent is not None:
        inner += block.recurrent.inner_size
    outside = (
        shared.elementwise_hidden_tensors * num_halves(block) / 2.0 * block.hidden_size
        + shared.elementwise_expert_tensors * copied
    )
    inside = shared.elementwise_inner_tensors * inner / setup.tensor_parallel
    n_bytes = rows * (outside + inside) * setup.value_bytes
    return Seconds(memory_bandwidth=n_bytes / (setup.hw.hbm_bytes_per_second * shared.elementwise_bandwidth_share))


def num_reductions(block: Block) -> int:
    """All-reduces of one layer under tensor parallelism: after the mixer and after the MLP, once where parallel."""
    return 1 if block.parallel else num_halves(block)


def num_halves(block: Block) -> int:
    """A layer mixes tokens and has an MLP (2), or does one of the two (1): hybrid models alternate such halves."""
    mixes = block.attention is not None or block.recurrent is not None or block.cross_attention is not None
    computes = block.feed_forward is not None or block.moe is not None
    return max(1, int(mixes) + int(computes))


def collective_s(setup: Setup, block: Block, rows: Floats) -> Floats:
    """Seconds of one layer's collectives, per GPU.

    Attention data parallelism gathers and scatters the same bytes around the MLP that an all-reduce would move.
    Expert parallelism over data-parallel ranks sends every token to its experts and back.
    """
    n_bytes = rows * block.hidden_size * setup.value_bytes
    count = num_reductions(block)
    if setup.job.engine.flag("attention_data_parallel"):
        count = min(count, 1)
    reducing = count * all_reduce_s(setup.tensor_group, n_bytes)
    if block.moe is None:
        return reducing
    sent = rows / setup.tensor_parallel * block.moe.top_k * block.moe.input_size * setup.value_bytes
    dispatch = 2.0 * all_to_all_s(setup.expert_group, sent)
    return reducing + np.where(setup.token_ranks > 1, dispatch, 0.0)

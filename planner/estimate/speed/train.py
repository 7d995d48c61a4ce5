"""Speed of training: one optimizer step from micro-batches, pipeline bubble, gradient exchange and optimizer.

    step = (m + (p - 1)/v) (layers + collectives exposed) + data-parallel exchange exposed + optimizer + host link

with m micro-batches, p pipeline stages and v virtual stages per GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.memory.states import StateBytes, adapter_params, adapter_state_bytes, state_bytes
from planner.estimate.memory.weights import stage_share
from planner.estimate.speed.collectives import (
    all_gather_s,
    all_reduce_s,
    group_of,
    point_to_point_s,
)
from planner.estimate.speed.columns import attention_columns, gemm_columns, kinds_of, launch_factors
from planner.estimate.speed.gemm import product_time
from planner.estimate.speed.kernels import Kernels, shipped_kernels, training_engine
from planner.estimate.speed.setup import WIDTHS
from planner.estimate.speed.times import Seconds, add, binding
from planner.estimate.speed.train_layer import LayerTime, TrainSetup, train_layer
from planner.estimate.types import Floats, Hardware, TrainJob, TrainSpeed, TrainWays
from planner.estimate.work import head_product, layer_products, main_blocks, training_work

HALF_BYTES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """One micro-batch through the layers of the fullest stage."""

    compute: Seconds
    exposed_s: Floats
    """Collectives inside the layers that computing does not hide."""
    backward_s: Floats


def train_setup(job: TrainJob, ways: TrainWays, hw: Hardware, kernels: Kernels) -> TrainSetup:
    """Look every parameter of the call up once."""
    kinds = kinds_of(hw)
    engine = training_engine(kernels, job.engine)
    compute = job.precision.removesuffix("-mixed")
    width = WIDTHS[compute]
    half_peak = hw.peak_flop_per_second if width == "32" else hw.peak16_flop_per_second
    half = gemm_columns(kernels, hw, kinds, width="32" if width == "32" else "16", peak=half_peak, engine=engine)
    linear = half
    if width not in ("16", "32"):
        linear = gemm_columns(kernels, hw, kinds, width=width, peak=hw.peak_flop_per_second, engine=engine)
    tp = ways.tensor_parallel.astype(np.float64)
    ranks = np.maximum(1.0, ways.expert_parallel.astype(np.float64))
    return TrainSetup(
        job=job,
        hw=hw,
        ways=ways,
        kernels=kernels,
        engine=engine,
        launch_factor=launch_factors(kernels, kinds),
        linear=linear,
        half=half,
        attention=attention_columns(kernels, hw, kinds, engine),
        products={b.name: layer_products(b, job.base) for b in job.model.blocks},
        tensor_parallel=tp,
        expert_ranks=ranks,
        expert_split=np.maximum(tp, ranks) / ranks,
        tensor_group=group_of(kernels, hw, kinds, size=tp),
        expert_group=group_of(kernels, hw, kinds, size=ranks),
        context_group=group_of(
            kernels, hw, kinds, size=ways.context_parallel, per_node=np.maximum(1.0, np.floor(hw.node_gpus / tp))
        ),
        value_bytes=4.0 if width == "32" else HALF_BYTES,
    )


def train_speed(job: TrainJob, ways: TrainWays, hw: Hardware, *, kernels: Kernels | None = None) -> TrainSpeed:
    """Speed of the whole run, one entry per way.

    Raises UnknownNameError for an engine or architecture that `catalogs/kernels.yaml` does not have.
    """
    setup = train_setup(job, ways, hw, kernels or shipped_kernels())
    num_ways = max(len(ways), len(hw))
    step = step_seconds(setup)
    step_s = step.total_s
    tokens = float(job.global_batch * job.sequence_tokens)
    work = training_work(job.model, job.sequence_tokens, checkpointing=job.checkpointing, lora=job.lora)
    model_flop = work.model_flop * job.global_batch
    peak = hw.peak_flop_per_second * ways.gpus
    column = np.ones(num_ways)
    bubble = bubble_of(setup)
    return TrainSpeed(
        step_s=step_s * column,
        tokens_per_second=tokens / step_s * column,
        mfu=model_flop / (step_s * peak) * column,
        bubble_share=bubble / (micro_batches_of(setup) + bubble) * column,
        bound_by=binding(step, num_ways),
        shares=step.shares(num_ways),
    )


def micro_batches_of(setup: TrainSetup) -> Floats:
    """Micro-batches of one optimizer step on one data-parallel rank."""
    ways = setup.ways
    return np.maximum(1.0, np.ceil(setup.job.global_batch / (ways.data_parallel * ways.micro_batch)))


def bubble_of(setup: TrainSetup) -> Floats:
    """Micro-batch times that a pipeline stage waits in one step."""
    virtual = setup.job.engine.optional_number("virtual_pipeline") or 1.0
    return (setup.ways.pipeline_parallel.astype(np.float64) - 1.0) / virtual


def step_seconds(setup: TrainSetup) -> Seconds:
    """Seconds of one optimizer step by cause."""
    micro_batches = micro_batches_of(setup)
    layers = stage_layers(setup)
    head = head_seconds(setup)
    handover = handover_s(setup)
    micro = add(layers.compute, head, Seconds(communication=layers.exposed_s + handover))
    exchange = exchange_s(setup, micro_batches=micro_batches, backward_s=layers.backward_s, micro_s=micro.total_s)
    streamed = parameter_stream_s(setup) * micro_batches
    parts = add(
        micro.times(micro_batches + bubble_of(setup)),
        Seconds(communication=exchange, overhead=np.zeros(1) + setup.engine.step_overhead_s),
        optimizer_seconds(setup),
        Seconds(host_link=np.maximum(0.0, streamed - 0.5 * micro.total_s * micro_batches)),
        Seconds(host_link=activation_stream_s(setup, layers.compute.total_s) * micro_batches),
    )
    return parts.times(1.0 + setup.shared.data_share)


def stage_layers(setup: TrainSetup) -> Layers:
    """One micro-batch through the layers of the fullest pipeline stage."""
    share = stage_share(setup.job.model.num_layers, setup.ways.pipeline_parallel)
    computing, exposed, backward = Seconds(), np.zeros(1), np.zeros(1)
    hidden = 1.0 - setup.shared.tensor_exposed
    if setup.job.engine.flag("async_tensor_parallel"):
        hidden = 1.0 - setup.shared.tensor_exposed / 2.0
    for block in main_blocks(setup.job.model):
        one: LayerTime = train_layer(setup, block)
        number = block.num_layers * share
        computing += one.total.times(number)
        exposed = exposed + number * one.communication_s * (1.0 - hidden)
        backward = backward + number * one.backward.total_s
    return Layers(compute=computing, exposed_s=exposed, backward_s=backward)


def head_seconds(setup: TrainSetup) -> Seconds:
    """Vocabulary projection and loss of one micro-batch, forward and backward, on the last stage.

    Stages wait for the slowest, and planners put fewer layers beside the head: an even spread over the stages is
    what balanced partitions reach.
    """
    product = head_product(setup.job.model, setup.job.base)
    if product is None:
        return Seconds()
    forward = product_time(
        setup.half,
        rows=setup.tokens,
        columns=product.out_features / setup.tensor_parallel,
        depth=np.full(1, float(product.in_features)),
        weight_bytes=setup.half.operand_bytes,
    )
    logits = setup.tokens * product.out_features / setup.tensor_parallel
    loss_bytes = setup.job.engine.optional_number("loss_bytes_per_logit") or 0.0
    loss = logits * 2.0 * loss_bytes / (setup.hw.hbm_bytes_per_second * setup.shared.elementwise_bandwidth_share)
    passes = 2.0 if setup.is_frozen else 3.0
    return add(forward.times(passes), Seconds(memory_bandwidth=loss)).times(1.0 / setup.ways.pipeline_parallel)


def handover_s(setup: TrainSetup) -> Floats:
    """Seconds of one micro-batch between two pipeline stages, forward and backward.

    Each tensor-parallel rank sends its part over its own link. Interleaved schedules hand over once for every virtual
    stage and overlap most of it.
    """
    ways, hw = setup.ways, setup.hw
    group = group_of(setup.kernels, hw, kinds_of(hw), size=ways.gpus)
    n_bytes = setup.tokens * setup.job.model.hidden_size * setup.value_bytes / setup.tensor_parallel
    virtual = setup.job.engine.optional_number("virtual_pipeline") or 1.0
    exposed = setup.shared.stage_exposed if virtual > 1.0 else 1.0
    return np.where(ways.pipeline_parallel > 1, 2.0 * virtual * exposed * point_to_point_s(group, n_bytes), 0.0)


def exchange_s(setup: TrainSetup, *, micro_batches: Floats, backward_s: Floats, micro_s: Floats) -> Floats:
    """Seconds of gradient and parameter exchange over the data-parallel ranks that computing does not hide.

    Replicated and ZeRO-1/2: gradients once a step, behind the last backward pass. ZeRO-3: weights are gathered for the
    forward and the backward pass of every micro-batch and gradients scattered, behind all computing.
    """
    job, ways, hw = setup.job, setup.ways, setup.hw
    ranks = ways.data_parallel * ways.context_parallel
    inside = np.maximum(1.0, np.floor(hw.node_gpus / ways.tensor_parallel))
    group = group_of(setup.kernels, hw, kinds_of(hw), size=ranks, per_node=inside)
    trained = trained_params(setup)
    gradient_bytes = job_states(setup).gradient * trained
    least = setup.shared.data_exposed
    if job.sharding == "zero3":
        weights = HALF_BYTES * job.model.params_total / ways.tensor_parallel / ways.pipeline_parallel
        per_micro = 2.0 * all_gather_s(group, weights) + all_gather_s(group, gradient_bytes)
        return micro_batches * np.maximum(least * per_micro, per_micro - micro_s)
    once = all_reduce_s(group, gradient_bytes)
    return np.maximum(least * once, once - backward_s)


def trained_params(setup: TrainSetup) -> Floats:
    """Trainable parameters on one tensor- and pipeline-parallel rank before any sharding."""
    job = setup.job
    count = float(job.model.params_total) if job.lora is None else float(adapter_params(job.model, job.lora))
    return count / (setup.ways.tensor_parallel * setup.ways.pipeline_parallel)


def job_states(setup: TrainSetup) -> StateBytes:
    """Bytes a trained parameter keeps as weight, gradient and optimizer state."""
    return state_bytes(setup.job) if setup.job.lora is None else adapter_state_bytes(setup.job.lora)


def optimizer_seconds(setup: TrainSetup) -> Seconds:
    """Seconds of the optimizer step: every state is read and written once, on the GPU or by the CPU."""
    job, ways, hw, shared = setup.job, setup.ways, setup.hw, setup.shared
    shards = np.where(job.sharding == "none", 1.0, ways.data_parallel * ways.context_parallel)
    params = trained_params(setup) / shards
    states = job_states(setup)
    per_param = 2.0 * (states.weight + states.optimizer) + states.gradient
    on_gpu = params * (1.0 - ways.optimizer_cpu) * per_param * setup.engine.optimizer_passes
    together = np.minimum(ways.gpus, hw.node_gpus)
    link = hw.pcie_bytes_per_second * shared.pcie_share
    on_cpu = params * ways.optimizer_cpu
    moved = on_cpu * 2.0 * HALF_BYTES / link
    computed = on_cpu * together * shared.cpu_adam_s_per_param
    return Seconds(
        memory_bandwidth=on_gpu / (hw.hbm_bytes_per_second * shared.optimizer_bandwidth_share),
        host_link=moved + computed,
    )


def parameter_stream_s(setup: TrainSetup) -> Floats:
    """Seconds a micro-batch needs to bring offloaded parameters to the GPU, for the forward and the backward pass."""
    job, ways, hw = setup.job, setup.ways, setup.hw
    shards = np.where(job.sharding == "zero3", ways.data_parallel * ways.context_parallel, 1.0)
    held = HALF_BYTES * job.model.params_total / (ways.tensor_parallel * ways.pipeline_parallel * shards)
    return 2.0 * ways.params_cpu * held / (hw.pcie_bytes_per_second * setup.shared.pcie_share)


def activation_stream_s(setup: TrainSetup, compute_s: Floats) -> Floats:
    """Seconds that saved activations spend on the host link of one micro-batch and computing does not hide."""
    if not setup.job.engine.flag("activation_offloading"):
        return np.zeros(1)
    model = setup.job.model
    saved = setup.tokens * model.hidden_size * model.num_layers * setup.value_bytes / setup.ways.pipeline_parallel
    moving = 2.0 * saved / (setup.hw.pcie_bytes_per_second * setup.shared.pcie_share)
    return np.maximum(0.0, moving - compute_s)

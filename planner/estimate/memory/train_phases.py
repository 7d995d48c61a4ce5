"""What each phase of a training step holds beside weights, adapters and optimizer states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.estimate.memory.train_activations import (
    activations_of,
    edge_bytes,
    in_flight,
    last_layer_gradient_bytes,
    mlp_moment_bytes,
    score_moment_bytes,
)
from planner.estimate.memory.train_buffers import (
    Moment,
    bucket_bytes,
    cast_bytes,
    dequant_bytes,
    gradients_are_views,
    head_cast_bytes,
    head_params,
    layer_cast_bytes,
    sharding_buffers,
    standing_root_bytes,
)
from planner.estimate.memory.train_loss import forward_loss_bytes, loss_bytes
from planner.estimate.memory.train_states import States, full_state, micro_batches, shards
from planner.estimate.memory.weights import largest_matrix_params, parameter_split
from planner.estimate.types import Floats, TrainJob, TrainWays

MOMENTS: tuple[Moment, ...] = ("forward", "loss", "backward")
ONE_LAYER = "one layer and its gradients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Bytes of one thing a phase holds."""

    part: str
    """Key of `PARTS`."""
    label: str
    amount: Floats
    scales: bool = False
    """Proportional to the micro-batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One moment of the step that may be the peak."""

    name: str
    """forward, loss, backward or optimizer."""
    items: tuple[Item, ...]

    def part(self, part: str) -> Floats:
        """Bytes of one part."""
        return summed([i.amount for i in self.items if i.part == part])

    @property
    def total(self) -> Floats:
        return summed([i.amount for i in self.items])

    @property
    def scaling_total(self) -> Floats:
        """Bytes that grow with the micro-batch."""
        return summed([i.amount for i in self.items if i.scales])

    @property
    def fixed_total(self) -> Floats:
        return summed([i.amount for i in self.items if not i.scales])


def summed(amounts: list[Floats]) -> Floats:
    result: Floats = sum(amounts, np.zeros(1))
    return result


def phases_of(job: TrainJob, ways: TrainWays, states: States) -> tuple[Phase, ...]:
    """Every moment of a steady step that may be its peak.

    Forward of the first stage (most micro-batches in flight); the end of forward and the start of backward on the
    last stage (logits); the first and the last layer of backward; the embedding's gradient; the optimizer step.
    """
    stands = gradients_in_forward(job, ways, states)
    before, at_loss, buffers = (buffers_of(job, ways, states, moment) for moment in MOMENTS)
    first, last = activations_of(job, ways)
    edge = edge_bytes(job, ways)
    mlp, scores = mlp_moment_bytes(job, ways), score_moment_bytes(job, ways)
    casts, loss = cast_bytes(job, ways), loss_bytes(job, ways)
    kept_casts = head_cast_bytes(job, ways) if job.checkpointing == "full" else casts
    gradients = held_gradients("gradients that stand in forward", stands)
    head = held_gradients("gradients so far", np.maximum(stands, head_gradient_bytes(job, ways, states)))
    return (
        Phase(name="forward", items=(*before, *kept("first stage", first), weight_copies(casts), gradients)),
        Phase(
            name="forward",
            items=(
                *at_loss,
                *kept("last stage", last + edge),
                weight_copies(casts),
                logits(forward_loss_bytes(job, loss)),
                gradients,
            ),
        ),
        Phase(
            name="loss",
            items=(*at_loss, *kept("last stage", last + edge), weight_copies(kept_casts), logits(loss), gradients),
        ),
        first_backward(job, ways, (*buffers, head), np.maximum(first, last + edge), np.maximum(mlp, scores)),
        last_backward(job, ways, (*buffers, mlp_gradients(job, ways, states, stands)), first, mlp),
        last_backward(
            job, ways, (*buffers, inner_gradients(job, ways, states, stands)), first, scores, label="one layer's scores"
        ),
        Phase(name="backward", items=(*buffers, embedding_gradients(job, ways, states))),
        Phase(
            name="optimizer",
            items=(
                held_gradients("gradients", states.gradients),
                Item(part="optimizer", label="temporaries of the step", amount=states.step_temporary),
                Item(part="workspace", label="parameters that stay gathered", amount=standing_root_bytes(job, ways)),
                Item(part="workspace", label="gradient buckets", amount=bucket_bytes(job, ways, states.gradients)),
            ),
        ),
    )


def kept(where: str, amount: Floats) -> tuple[Item, ...]:
    return (Item(part="activations", label=f"kept by the layers of the {where}", amount=amount, scales=True),)


def weight_copies(amount: Floats) -> Item:
    return Item(part="activations", label="16-bit copies of weights (autocast)", amount=amount)


def logits(amount: Floats) -> Item:
    return Item(part="logits", label="logits and loss", amount=amount, scales=True)


def held_gradients(label: str, amount: Floats) -> Item:
    return Item(part="gradients", label=label, amount=amount)


def first_backward(job: TrainJob, ways: TrainWays, others: tuple[Item, ...], saved: Floats, work: Floats) -> Phase:
    """Backward of the last layer: everything is still kept; a checkpointed layer has just been recomputed."""
    if job.checkpointing != "full":
        copies = weight_copies(cast_bytes(job, ways))
        inside = last_layer_gradient_bytes(job, ways)
        gradients = Item(part="activations", label="gradients inside the last layer", amount=inside, scales=True)
        return Phase(name="backward", items=(*others, *kept("fullest stage", saved), gradients, copies))
    recomputed = Item(part="activations", label="recomputed layer and its gradients", amount=work, scales=True)
    copies = weight_copies(layer_cast_bytes(job, ways))
    return Phase(name="backward", items=(*others, *kept("fullest stage", saved), recomputed, copies))


def last_backward(
    job: TrainJob,
    ways: TrainWays,
    others: tuple[Item, ...],
    first: Floats,
    work: Floats,
    *,
    label: str = ONE_LAYER,
) -> Phase:
    """Backward of the first layer: one layer, and the other micro-batches in flight."""
    waiting = first * (1.0 - 1.0 / in_flight(job, ways))
    return Phase(
        name="backward",
        items=(
            *others,
            *kept("first stage for other micro-batches", waiting),
            Item(part="activations", label=label, amount=work, scales=True),
            weight_copies(layer_cast_bytes(job, ways)),
        ),
    )


def gradients_in_forward(job: TrainJob, ways: TrainWays, states: States) -> Floats:
    """Gradients that stand in forward: micro-batches accumulate, or the engine keeps its buffers."""
    accumulates = micro_batches(job, ways) > 1
    views = gradients_are_views(job, ways)
    result: Floats = np.where(accumulates | views | job.engine.flag("gradients_persist"), 1.0, 0.0) * states.gradients
    return result


def buffers_of(job: TrainJob, ways: TrainWays, states: States, moment: Moment) -> tuple[Item, ...]:
    """Sharding buffers (DDP: buckets as large as the gradients) and expanded weights."""
    buckets = sharding_buffers(job, ways, states.gradients, moment=moment)
    return (
        Item(part="workspace", label="sharding or gradient buckets", amount=buckets),
        Item(part="workspace", label="expanded matrix", amount=dequant_bytes(job, ways)),
    )


def edge_gradient_bytes(job: TrainJob, ways: TrainWays, params: float) -> Floats:
    """Gradient of a matrix outside the layers, on one GPU; 0 where it is frozen."""
    if job.method != "full":
        return np.zeros(1)
    sharded = shards(job, ways) if job.sharding in ("zero2", "zero3") else np.ones(1)
    result: Floats = params * full_state(job).gradient / ways.tensor_parallel / sharded
    return result


def head_gradient_bytes(job: TrainJob, ways: TrainWays, states: States) -> Floats:
    """The output head's gradient, the first one backward makes."""
    if not job.model.has_head:
        return np.zeros(1)
    return np.minimum(edge_gradient_bytes(job, ways, head_params(job)), states.gradients)


def mlp_gradients(job: TrainJob, ways: TrainWays, states: States, stands: Floats) -> Item:
    """All gradients but the embedding's and those of the first layer before its MLP's output projection."""
    split = parameter_split(job.model)
    layer = split.layers / max(1, job.model.num_layers) - largest_matrix_params(job.model)
    later = edge_gradient_bytes(job, ways, max(layer, 0.0))
    inner = inner_gradients(job, ways, states, stands).amount
    return held_gradients("gradients but the first layer's and the embedding's", np.maximum(inner - later, stands))


def inner_gradients(job: TrainJob, ways: TrainWays, states: States, stands: Floats) -> Item:
    """All gradients but the embedding's, which comes last."""
    split = parameter_split(job.model)
    own = 0.0 if job.model.tied_embeddings and job.model.has_head else split.embedding
    first_stage = np.where(ways.pipeline_parallel == 1, 1.0, 0.0)
    embedding = edge_gradient_bytes(job, ways, own) * first_stage
    return held_gradients("gradients but the embedding's", np.maximum(states.gradients - embedding, stands))


def embedding_gradients(job: TrainJob, ways: TrainWays, states: States) -> Item:
    """All gradients; one matrix for both ends gets two gradients, added up into a third."""
    split = parameter_split(job.model)
    tied = job.model.tied_embeddings and job.model.has_head and not job.engine.flag("gradients_persist")
    extra = 2 * edge_gradient_bytes(job, ways, split.embedding) if tied else np.zeros(1)
    extra = np.where(ways.pipeline_parallel == 1, extra, 0.0)
    return held_gradients("all gradients, the tied embedding's in parts", states.gradients + extra)

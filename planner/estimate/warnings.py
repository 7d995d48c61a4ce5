"""What the user should know about a configuration that was chosen: stand-ins, and wishes that bring nothing."""

from __future__ import annotations

from collections.abc import Iterator

from planner.catalog.types import Gpu
from planner.estimate.memory.train_states import micro_batches, steps_in_backward
from planner.estimate.request_training import HALF_TWINS
from planner.estimate.types import InferJob, InferWays, TrainJob, TrainWays
from planner.spec.types import InferWorkload, TrainWorkload
from planner.units import ceil_div

DEALT_EVENLY = ("transformers", "llamacpp", "exllama")
"""Engines that deal layers out by size, not in equal numbers of whole layers."""


def configuration_warnings(
    workload: InferWorkload | TrainWorkload,
    job: InferJob | TrainJob,
    ways: InferWays | TrainWays,
    gpu: Gpu,
    *,
    weight_only: bool,
) -> tuple[str, ...]:
    """Warnings of one row; `weight_only`: the weights are expanded to 16 bit before every product."""
    found = [*stage_warnings(job, int(ways.pipeline_parallel[0]))]
    if isinstance(job, InferJob):
        if weight_only and not job.weights.weight_only:
            found.append(f"{job.weights.id} is weight-only on {gpu.arch}: less memory, no faster products")
    else:
        found += [*stand_in_warnings(workload, job, gpu), *checkpointing_warnings(job), *training_warnings(job, ways)]
    return tuple(found)


def stage_warnings(job: InferJob | TrainJob, stages: int) -> Iterator[str]:
    """Whole layers that do not divide over the pipeline: memory and speed are those of the fullest stage."""
    layers = job.model.num_layers
    if stages > 1 and layers % stages and job.engine.name not in DEALT_EVENLY:
        yield (
            f"{layers} layers do not divide over {stages} pipeline stages: the fullest holds {ceil_div(layers, stages)}"
            f", and memory and speed are that stage's"
        )


def stand_in_warnings(workload: InferWorkload | TrainWorkload, job: TrainJob, gpu: Gpu) -> Iterator[str]:
    """fp16 stands in for bf16."""
    if job.precision == HALF_TWINS[1] and set(HALF_TWINS) <= set(workload.effective_precision):
        yield f"{gpu.name} has no bf16: trained in fp16-mixed, which needs loss scaling; give `precision` to decide"


def checkpointing_warnings(job: TrainJob) -> Iterator[str]:
    """Selective checkpointing drops the scores of attention, which only the eager kernel keeps."""
    if job.checkpointing != "selective" or job.engine.options.get("selective_policy") == "ops":
        return
    if job.attention != "eager":
        yield (
            f"checkpointing: selective saves no memory with {job.attention} attention, which keeps no scores, "
            "and costs time; `full` saves memory, `none` is faster"
        )


def training_warnings(job: TrainJob, ways: InferWays | TrainWays) -> Iterator[str]:
    """Wishes that the memory model takes in part."""
    if job.precision == "fp8-mixed":
        yield "fp8-mixed: memory is that of bf16-mixed; FP8 copies of weights and FP8 activations are not modelled"
    if isinstance(ways, TrainWays) and steps_in_backward(job) and float(micro_batches(job, ways)[0]) > 1:
        yield "optimizer_step in-backward steps at every micro-batch: gradients cannot accumulate; give micro = global"
    tower = any(job.model.stack("vision", "audio")) or job.model.task == "speech"
    if tower and any(job.model.stack("decoder")):
        yield "training memory counts the tokens of `sequence` alone, not what the vision or audio tower keeps"

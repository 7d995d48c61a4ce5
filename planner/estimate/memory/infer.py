"""Memory of one replica serving a model: the peak over load, prefill and decode, or the engine's own budget."""

from __future__ import annotations

from planner.estimate.memory.budget import budget_memory
from planner.estimate.memory.buffers import buffers_memory
from planner.estimate.memory.fixed import fixed_bytes, has_budget
from planner.estimate.memory.growing import growing_memory
from planner.estimate.memory.kv_cache import longest_request, padded_batch
from planner.estimate.types import Hardware, InferJob, InferWays, Memory


def infer_memory(job: InferJob, ways: InferWays, hw: Hardware) -> Memory:
    """Bytes on the fullest GPU of one replica; one entry per way."""
    fixed = fixed_bytes(job, ways, hw)
    if job.engine.name == "llamacpp":
        return buffers_memory(planned_lengths(job), ways, hw, fixed)
    if has_budget(job):
        return budget_memory(job, ways, hw, fixed)
    return growing_memory(planned_lengths(job), ways, hw, fixed)


def planned_lengths(job: InferJob) -> InferJob:
    """The lengths that memory is taken for: every llama.cpp slot holds the longest request, a padded batch the longest
    prompt and answer of the mix; engines that page the cache hold the mix itself."""
    if has_budget(job):
        return job
    return longest_request(job) if job.engine.name == "llamacpp" else padded_batch(job)

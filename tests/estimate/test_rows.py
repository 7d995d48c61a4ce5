"""When a row fits: at the prediction, and at a factor above it."""

from __future__ import annotations

import numpy as np
import pytest

from planner.estimate.memory import infer_memory, usable_bytes
from planner.estimate.rows import infer_fitting
from planner.units import GIB
from tests.estimate.jobs import catalog, engine, hardware, infer_job, infer_ways


@pytest.mark.parametrize("memory_gib", [18, 20, 24, 40])
def test_a_pool_must_hold_a_sequence_still_when_everything_beside_it_grows(memory_gib: int) -> None:
    """Beside the pool stand weights, activations, workspace and context: what they grow by is taken off the pool."""
    job = infer_job("llama-3.1-8b", engine=engine("vllm"), weights=catalog().precision("bf16"))
    hw = hardware(memory_bytes=memory_gib * GIB)
    memory = infer_memory(job, infer_ways(1), hw)
    pool = float(memory.parts["kv_cache"][0])
    rest = float(memory.device_peak_bytes[0]) - pool
    sequence = 131_072 * (job.input_tokens + job.output_tokens)
    fits_at_all = bool(infer_fitting(job, memory, hw)[0])
    for margin in (1.0, 1.02, 1.1, 1.3, 2.0):
        left = pool - rest * (margin - 1.0)
        expected = fits_at_all and left >= sequence * 1.1
        clearly_not = left < sequence * 0.5
        found = bool(infer_fitting(job, memory, hw, margin)[0])
        assert found or not expected
        assert not (found and clearly_not)


def test_a_model_without_a_cache_fits_by_its_peak_times_the_factor() -> None:
    job = infer_job("bert-base", engine=engine("vllm"), input_tokens=512, output_tokens=0)
    hw = hardware(memory_bytes=8 * GIB)
    memory = infer_memory(job, infer_ways(1), hw)
    most = float(usable_bytes(hw)[0] / memory.device_peak_bytes[0])
    fits = [bool(infer_fitting(job, memory, hw, m)[0]) for m in np.array([1.0, 0.99 * most, 1.01 * most])]
    assert fits == [True, True, False]

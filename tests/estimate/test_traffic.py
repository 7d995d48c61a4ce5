"""A mix of request sizes: what the cache holds at one time, what must fit, and what a padded batch pays."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from planner.catalog.hosts import default_host
from planner.estimate.hardware import hardware as hardware_of
from planner.estimate.memory import infer_memory
from planner.estimate.memory.kv_cache import lengths_in_batch
from planner.estimate.speed import infer_speed
from planner.estimate.speed.serving import chance_of_most
from planner.estimate.types import InferJob
from planner.units import GIB
from tests.estimate.jobs import catalog, engine, hardware, infer_job, infer_ways, one

MIX = ((200, 100, 0.7), (8000, 500, 0.3))
MEAN = {"input_tokens": 2540, "output_tokens": 220}
LLAMA = "meta-llama/Llama-3.1-8B"
TOKEN_BYTES = 131072
"""2 x 32 layers x 8 KV heads x 128 x 2 bytes."""


def mixed(name: str) -> InferJob:
    return infer_job(LLAMA, engine=engine(name), traffic=MIX, **MEAN)


def alike(name: str, inputs: int, outputs: int) -> InferJob:
    return infer_job(LLAMA, engine=engine(name), input_tokens=inputs, output_tokens=outputs)


def test_a_batch_holds_each_kind_by_its_share_of_the_tokens_made() -> None:
    """Of 100 requests 70 make 7,000 tokens and 30 make 15,000: 7/22 of the batch are short at any time."""
    (short, of_short), (long, of_long) = lengths_in_batch(mixed("vllm"))
    assert (short, long) == (300, 8500)
    assert (of_short, of_long) == pytest.approx((7 / 22, 15 / 22))


def test_slots_are_counted_on_the_mix_of_a_full_batch() -> None:
    """Pages of 16: 304 and 8,512 tokens. 5,900 of them a slot, more than twice the 2,760 of the mean request."""
    memory = infer_memory(mixed("vllm"), infer_ways(), hardware())
    slot_tokens = 7 / 22 * 304 + 15 / 22 * 8512
    assert float(memory.max_batch[0]) == np.floor(float(memory.parts["kv_cache"][0]) / (slot_tokens * TOKEN_BYTES))


def test_slots_drawn_one_after_another_fill_the_pool_as_the_mean_says() -> None:
    """Slots are drawn by the time requests stay until the pool is full: 200 times, within 3 %."""
    memory = infer_memory(mixed("vllm"), infer_ways(), hardware())
    pool_tokens, rng = float(memory.kv_cache_tokens[0]), random.Random(3)
    held = []
    for _ in range(200):
        tokens, slots = 0, 0
        while tokens <= pool_tokens:
            i, o, _ = rng.choices(MIX, [share * o for _, o, share in MIX])[0]
            tokens, slots = tokens + i + o, slots + 1
        held.append(slots - 1)
    assert float(memory.max_batch[0]) == pytest.approx(np.mean(held), rel=0.03)


def test_a_pool_too_small_for_the_longest_request_holds_none() -> None:
    """One request in a million has 120,000 tokens: 14.6 GiB of cache. A pool of less holds a hundred of the others."""
    rare = ((200, 100, 1 - 1e-6), (120_000, 100, 1e-6))
    job = replace(alike("vllm", 200, 100), traffic=rare)
    small, large = (infer_memory(job, infer_ways(), hardware(memory_bytes=n * GIB)) for n in (32, 80))
    assert float(small.max_batch[0]) == 0
    assert float(large.max_batch[0]) > 1000
    assert float(small.parts["kv_cache"][0]) == pytest.approx(120_112 * TOKEN_BYTES)


@pytest.mark.parametrize("name", ["transformers", "llamacpp"])
def test_engines_without_pages_hold_the_longest_for_everybody(name: str) -> None:
    longest = infer_memory(alike(name, 8000, 500), infer_ways(4), hardware())
    both = infer_memory(mixed(name), infer_ways(4), hardware())
    assert float(both.device_peak_bytes[0]) == pytest.approx(float(longest.device_peak_bytes[0]))


def test_one_kind_of_request_is_no_mix() -> None:
    """Memory and speed of a mix of one kind are those of that kind."""
    for name in ("vllm", "transformers", "llamacpp"):
        single = alike(name, 900, 100)
        listed = replace(single, traffic=((900, 100, 1.0),))
        assert infer_memory(single, infer_ways(8), hardware()) == infer_memory(listed, infer_ways(8), hardware())
        assert rates(single, 8) == rates(listed, 8)


def rates(job: InferJob, batch: float) -> tuple[float, float]:
    """Requests per second and seconds to the first token on one H100."""
    hw = hardware_of(job, [default_host(catalog(), "h100-sxm-80gb", 1)], catalog())
    found = infer_speed(job, infer_ways(batch), hw, kv_slots=one(1000))
    return float(found.requests_per_second[0]), float(found.ttft_s[0])


def test_the_largest_of_a_draw_is_as_likely_as_a_count_says() -> None:
    """Two dice throws: the largest is a six in 11 of 36, a one in 1 of 36."""
    chances = chance_of_most([1, 2, 3, 4, 5, 6], [1 / 6] * 6, np.array([2.0]))
    assert [round(36 * float(c[0])) for c in chances] == [1, 3, 5, 7, 9, 11]


def test_a_large_fixed_batch_runs_as_if_every_request_were_the_longest() -> None:
    """Among 64 of the mix there is a long one all but surely; alone each takes its own time."""
    both, long = (rates(job, 64)[0] for job in (mixed("transformers"), alike("transformers", 8000, 500)))
    assert both == pytest.approx(long, rel=0.01)
    single, short = (rates(job, 1)[0] for job in (mixed("transformers"), alike("transformers", 200, 100)))
    assert long / 64 < single < short


def test_prompts_of_many_lengths_wait_longer_than_prompts_that_are_alike() -> None:
    """The same mean, answers of the same lengths: only the prompts differ."""
    even = replace(alike("vllm", 2000, 200), traffic=((2000, 150, 0.5), (2000, 250, 0.5)))
    uneven = replace(even, traffic=((200, 150, 0.5), (3800, 250, 0.5)))
    assert rates(uneven, 32)[1] > rates(even, 32)[1]

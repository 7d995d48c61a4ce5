"""Logs of births and deaths read as peaks, phases and parts."""

from __future__ import annotations

from validation.simulate.peaks import memory_of
from validation.simulate.tracker import Born, Died, Mark, Storage

MIB = 1 << 20


def storage(key: int, mib: int, phase: str = "forward", category: str | None = None) -> Storage:
    return Storage(key, mib * MIB, f"op{key}", phase, (), category)


def test_the_peak_is_taken_apart_by_what_is_alive_then() -> None:
    weights, early, late = storage(1, 4, category="weights"), storage(2, 8), storage(3, 6, "backward")
    log = [Born(weights), Mark("forward:0"), Born(early), Mark("backward:0"), Died(early), Born(late)]
    memory = memory_of(log, vocab_size=None, sequences=1)
    assert (memory.allocated, memory.peak.phase, memory.peak.op) == (12 * MIB, "forward", "op2")
    assert memory.peak.parts == {"weights": 4 * MIB, "activations": 8 * MIB, "rounding": 0}
    assert memory.phases == {"setup": 4 * MIB, "forward": 12 * MIB, "backward": 10 * MIB}


def test_static_bytes_are_what_stays_when_a_step_is_done() -> None:
    weights, gradients = storage(1, 4, category="weights"), storage(2, 4, category="gradients")
    moments, passing = storage(3, 8, category="optimizer"), storage(4, 30)
    log = [Born(weights), Mark("forward:0"), Born(passing), Born(gradients), Mark("step:0"), Born(moments)]
    log += [Died(passing), Mark("held:0"), Died(gradients), Mark("between:0")]
    assert memory_of(log, vocab_size=None, sequences=1).static == 16 * MIB


def test_a_tensor_as_wide_as_the_vocabulary_is_logits_unless_the_optimizer_makes_it() -> None:
    logits = Storage(1, 2 * 4 * 1000, "mm", "forward", (4, 1000))
    moment = Storage(2, 2 * 4 * 1000, "sqrt", "step", (4, 1000))
    memory = memory_of([Mark("forward:0"), Born(logits), Born(moment)], vocab_size=1000, sequences=4)
    assert (memory.peak.parts["logits"], memory.peak.parts["step"]) == (8000, 8000)

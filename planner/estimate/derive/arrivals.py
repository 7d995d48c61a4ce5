"""Latency under random arrivals: the means, part by part."""

from __future__ import annotations

from collections.abc import Iterator

from planner.estimate.derive.steps import exact, step
from planner.estimate.document import DerivationStep
from planner.estimate.speed.infer import lengths_of
from planner.estimate.speed.open_loop import OpenLoop
from planner.estimate.types import InferJob

CHAIN = (
    "requests in the batch: processor sharing with a speed by their number (Kelly 1979, 3.3); beyond the slots "
    "(1 + cv^2) / 2 of the M/M/c wait (Lee and Longton 1959)"
)
BULK = "a queue served in batches (Bailey 1954), whose service grows with the batch"
VACATIONS = "iteration-level scheduling (Orca 2022), arrivals by chance (inspection paradox)"


def arrival_steps(
    job: InferJob, found: OpenLoop | None, *, requests_per_second: float | None
) -> Iterator[DerivationStep]:
    """Utilisation, then the means of what requests see; nothing where no rate is asked."""
    if found is None or requests_per_second is None:
        return
    yield step(
        "performance.open_loop.utilisation",
        "requests/s asked / requests/s of the full batches: slots / (slots x prefill + (output - 1) x step) a rank",
        f"{exact(requests_per_second)} / {exact(requests_per_second / found.utilisation)}",
        exact(found.utilisation),
        "stability of the queue",
    )
    if found.ttft is None or found.end_to_end is None:
        return
    parts = (found.own_s, found.queue_s, found.iteration_s)
    in_batches = found.iteration_s is None
    yield step(
        "performance.open_loop.ttft_s.mean",
        "prompts of the own batch + wait for the batch under way and those before the own"
        if in_batches
        else "first token on an idle engine + wait for a slot + iteration under way, prompts beside it and the step "
        "joined",
        " + ".join(exact(part) for part in parts if part is not None),
        f"{exact(found.ttft.mean_s)} s",
        BULK if in_batches else f"{CHAIN}; {VACATIONS}",
    )
    later = ""
    if found.tpot is not None:
        step_s, stall_s, load = found.step_s or 0.0, found.stall_s or 0.0, found.prefill_load or 0.0
        answers = lengths_of(job)
        own = sum(max(0.0, o - 1.0) * share for o, (_, share) in zip(answers.answers, answers.prompts, strict=True))
        rounds = own if found.rounds is None else found.rounds
        yield step(
            "performance.open_loop.tpot_s.mean",
            "(decode step + stalls of prompts that came with its own / (output - 1)) / (1 - share of time in prefill)",
            f"({exact(step_s)} + {exact(stall_s)} / {exact(max(rounds, 1.0))}) / (1 - {exact(load)})",
            f"{exact(found.tpot.mean_s)} s",
            VACATIONS,
        )
        later = f" + {exact(rounds)} x {exact(found.tpot.mean_s)}"
    yield step(
        "performance.open_loop.end_to_end_s.mean",
        "mean time to first token + (output - 1) x mean time per token",
        f"{exact(found.ttft.mean_s)}{later}",
        f"{exact(found.end_to_end.mean_s)} s",
        "the sum of both; quantiles are those of all parts drawn together",
    )

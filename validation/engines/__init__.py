"""Serving engines, replayed by their own programs with dummy weights: what they report at start-up, what they measure.

Each engine is one module with the same three parts: the command that starts it, a parser of what it says when it starts
(weights, KV pool, tokens), and its own benchmark. Nothing is downloaded: the model is a folder with a config.json and a
word-per-token tokenizer made here.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from validation.card import Card
from validation.engines import llamacpp, sglang, vllm
from validation.record import Outcome
from validation.supervise import Finished
from validation.trial import Trial

SERVING = {"vllm": vllm.replay, "sglang": sglang.replay, "llamacpp": llamacpp.replay}
"""Engines that bring their own benchmark."""


def replay(trial: Trial, work: Path, *, gguf: Path | None, cards: Sequence[Card]) -> Finished:
    """Replay the trial with its engine, where that is installed."""
    if not trial.model and trial.engine != "llamacpp":
        detail = "the plan holds no keys to build this model from: its family is not written as a config"
        return Finished(outcome=Outcome(state="unsupported", detail=detail), result={}, talk="", started=time.time())
    return SERVING[trial.engine](trial, work, gguf, tuple(cards))

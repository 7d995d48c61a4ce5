"""Inference with Transformers in the child: prefill and decode of one batch, as `generate()` runs them greedily.

Conventions, which the predictions share: one warm-up pass comes first; memory peaks are of everything after the model
stands; TTFT is the prefill of the whole batch, first token chosen; TPOT is the mean of all later steps of one full
answer, each waited for as `generate()` waits to see whether it is done; rates follow from one batch after another.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validation import caches, inputs
from validation.device import LOAD, Cpu, median_s
from validation.formats import QUANTISED, UnsupportedError, pooled_bytes, quantised, weight_bytes, weights_dtype
from validation.models import build, for_task, hf_config
from validation.offload import is_split, placed
from validation.trial import Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

PREFILLS = 3
WARM_STEPS = 3


def attention_of(name: str) -> str:
    """The library's word for an attention kernel: its flash package where installed, else torch's own flash kernel.

    >>> attention_of("eager"), attention_of("sdpa")
    ('eager', 'sdpa')
    """
    import importlib.util

    if name == "flash":
        return "flash_attention_2" if importlib.util.find_spec("flash_attn") else "sdpa"
    return name


def check(trial: Trial, device: Cpu) -> None:
    """Refuse what this loop cannot replay. Raises UnsupportedError."""
    for degree in ("tensor_parallel", "context_parallel", "expert_parallel"):
        if trial.number(degree) > 1:
            raise UnsupportedError(f"{degree} {trial.number(degree)} of engine transformers is not replayed")
    caches.check(trial.text("kv_precision"), layout=layout_of(trial), share=trial.share("kv_cpu"))
    precision = trial.text("precision", "bf16")
    if is_split(trial) and precision in QUANTISED:
        raise UnsupportedError(f"weights in {precision} are replayed on one GPU, not split or offloaded")


def layout_of(trial: Trial) -> str:
    """How the KV cache lies: `dynamic` grows, `static` is whole from the start."""
    return str(trial.options.get("kv_layout") or "dynamic")


def replay(trial: Trial, device: Cpu, work: Path) -> dict[str, Any]:
    """Run the trial and return `measured` by rule and further `details`."""
    import torch

    check(trial, device)
    config = for_task(hf_config(trial.model), trains=False)
    precision = trial.text("precision", "bf16")
    attention = attention_of(trial.text("attention", "sdpa"))
    details: dict[str, Any] = {"attention": attention}
    split = is_split(trial)
    direct = precision in ("fp32", "tf32", "fp16", "bf16") and not split
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    with device.phase(LOAD):
        where = device.kind if direct else "cpu"
        if not split and str(trial.options.get("weights_allocation") or "pool") == "pool":
            device.hold_once(pooled_bytes(config, precision))
        model: nn.Module = build(config, dtype=weights_dtype(precision), device=where, attention=attention)
        if split:
            model, said = placed(model, trial, device=device.kind, folder=work / "offload")
            details |= said
        elif not direct:
            model = quantised(model, precision, device.kind)
        model.eval()
    measured: dict[str, float | None] = {}
    if not split:
        measured["weights"] = weight_bytes(model)
    answer = Answer(model, trial, device)
    steps = max(0, trial.number("output_tokens", 0) - 1)
    answer.full(steps=min(WARM_STEPS, steps))  # further ones would lie beyond the cache of the planned answer
    begin = time.time()
    first_s, steps_s = answer.full(steps=steps)
    prefills = [first_s, *(answer.prefill_only() for _ in range(PREFILLS - 1))]
    details |= {
        "timed": [begin, time.time()],
        "prefill_s": prefills,
        "step_s": {"median": median_s(steps_s), "last": steps_s[-1], "count": len(steps_s)} if steps_s else {},
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    if not answer.finite:
        return {"state": "garbage", "detail": "the model's output is not finite", "details": details}
    measured |= figures(trial, first_s=median_s(prefills), steps_s=steps_s)
    return {"state": "ok", "measured": measured | device.memory(), "details": details}


def figures(trial: Trial, *, first_s: float, steps_s: list[float]) -> dict[str, float | None]:
    """Latency and rates of one batch after another; rates only where one rank is the whole replica."""
    found: dict[str, float | None] = {"ttft": first_s}
    if steps_s:
        found |= {"tpot": statistics.fmean(steps_s), "step": statistics.fmean(steps_s)}
    if trial.number("data_parallel") > 1:
        return found
    whole_s, batch = first_s + sum(steps_s), trial.number("batch")
    inputs, outputs = trial.number("input_tokens", 0), trial.number("output_tokens", 0)
    found["request_rate"] = batch / whole_s
    found["token_rate"] = batch * (inputs + outputs) / whole_s
    if outputs:
        found["output_rate"] = batch * outputs / whole_s
    return found


class Answer:
    """One batch of prompts and the greedy answer to it."""

    def __init__(self, model: Any, trial: Trial, device: Cpu) -> None:
        self.model, self.trial, self.device = model, trial, device
        self.config: Any = model.config
        self.batch = max(1, trial.number("batch") // trial.number("data_parallel"))
        self.length = max(1, trial.number("input_tokens"))
        self.finite = True
        self.fed = inputs.prompt(self.config, sequences=self.batch, tokens=self.length, device=device.kind)
        self.both = bool(self.config.is_encoder_decoder)
        if self.both and (trial.share("kv_cpu") or trial.text("kv_precision") in caches.EIGHT_BIT):
            raise UnsupportedError("the cache of an encoder-decoder is replayed in 16 bits and on the GPU")
        self.generates = self.both or trial.number("output_tokens", 0) > 0
        self.last_only = str(trial.options.get("logits", "last")) == "last"

    def full(self, *, steps: int) -> tuple[float, list[float]]:
        """Seconds of the prefill and of each of `steps` decode steps."""
        import torch

        with torch.inference_mode():
            with self.device.phase("prefill"):
                box: dict[str, Any] = {}
                first_s = self.device.timed(lambda: box.update(self.prefill()))
            seconds = []
            with self.device.phase("decode"):
                for _ in range(steps if self.generates else 0):
                    seconds.append(self.device.timed(lambda: box.update(self.step(box))))
            self.finite = self.finite and bool(torch.isfinite(box["top"]).all())
        return first_s, seconds

    def prefill_only(self) -> float:
        """Seconds of one prefill."""
        return self.full(steps=0)[0]

    def prefill(self) -> dict[str, Any]:
        """Read the prompts and choose the first token."""
        if self.both:
            return self._prefill_encoder()
        if not self.generates:
            out = self.model(**self.fed)
            return {"top": _values(out).amax()}
        keep = {"logits_to_keep": 1} if self.last_only else {}
        out = self.model(**self.fed, use_cache=True, past_key_values=self.cache(), **keep)
        return self._chosen(out)

    def _prefill_encoder(self) -> dict[str, Any]:
        import torch

        start = torch.zeros((self.batch, 1), dtype=torch.long, device=self.device.kind)
        read: Any = self.model.get_encoder()(**self.fed)
        out = self.model(encoder_outputs=read, decoder_input_ids=start, use_cache=True)
        return {**self._chosen(out), "read": read}

    def step(self, box: dict[str, Any]) -> dict[str, Any]:
        """One more token of each answer."""
        if self.both:
            kind: dict[str, Any] = {"encoder_outputs": box["read"], "decoder_input_ids": box["token"]}
        else:
            kind = {"input_ids": box["token"]}
        out = self.model(**kind, past_key_values=box["cache"], use_cache=True)
        chosen = self._chosen(out)
        bool((chosen["token"] < 0).all())  # generate() waits here too, to see whether every answer has ended
        return chosen

    def _chosen(self, out: Any) -> dict[str, Any]:
        import torch

        last = out.logits[:, -1].to(copy=True, dtype=torch.float32)  # as generate() does
        return {"token": last.argmax(-1, keepdim=True), "cache": out.past_key_values, "top": last.amax()}

    def cache(self) -> Any:
        """An empty KV cache as planned."""
        return caches.cache_of(
            self.config,
            kv_precision=self.trial.text("kv_precision"),
            layout=layout_of(self.trial),
            share=self.trial.share("kv_cpu"),
            max_tokens=self.length + self.trial.number("output_tokens", 0),
            device=self.device.kind,
        )


def _values(out: Any) -> torch.Tensor:
    """The main tensor of a model's output."""
    import torch

    found = out[0]
    assert isinstance(found, torch.Tensor)
    return found

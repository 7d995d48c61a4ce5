"""Training with Transformers in the child: full, LoRA or QLoRA steps with the planned optimizer, and nothing else.

Conventions, which the predictions share: identical steps on random tokens, the labels a tensor of their own; gradients
set to None after each step; no clipping, no schedule; the peak is over the whole run, so in practice from step 2;
a step's time is the median after two warm-up steps. Under torchrun the ranks shard as planned and the fullest counts.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validation import inputs, ranks
from validation.device import LOAD, Cpu, median_s
from validation.formats import TRAIN_DTYPES, UnsupportedError, dtype_of, needs, parts_of, quantised
from validation.infer import attention_of
from validation.models import build, for_task, hf_config, parameters_without_memory
from validation.optimizers import local, optimizer_of
from validation.trial import Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

WARM_STEPS = 2
TIMED_STEPS = 5
FEWEST_STEPS = 3
VARIED_SHARES = (0.6, 0.9, 0.75, 0.95, 0.8)
"""Lengths, of the full one, of steps in between where the plan expects real batches, which leave the allocator with
blocks of other sizes; the timed steps are of full length."""
LONG_STEP_S = 20.0
"""A step longer than this is timed the fewest times: its own length averages noise out."""


def check(trial: Trial, device: Cpu) -> None:
    """Refuse what this loop cannot replay. Raises UnsupportedError."""
    for degree in ("tensor_parallel", "pipeline_parallel", "context_parallel", "expert_parallel"):
        if trial.number(degree) > 1:
            raise UnsupportedError(f"{degree} {trial.number(degree)} in training is not replayed; data parallel is")
    if trial.text("precision") not in TRAIN_DTYPES:
        raise UnsupportedError(f"training in {trial.text('precision')} is not replayed")
    check_offload(trial)
    loss = str(trial.options.get("cross_entropy") or "standard")
    if loss != "standard":
        raise UnsupportedError(f"cross-entropy {loss!r} is not replayed; the library's standard one is")


def check_offload(trial: Trial) -> None:
    """Refuse splits between GPU and host that this loop cannot replay. Raises UnsupportedError."""
    num_ranks, sharding = trial.number("data_parallel"), trial.text("sharding", "none")
    if trial.share("params_cpu"):
        if trial.text("method") == "qlora":
            raise UnsupportedError("a quantised base is replayed on the GPU")
        if num_ranks > 1 and sharding not in ("zero2", "zero3"):
            raise UnsupportedError("weights in host memory are replayed on one GPU, or on several with zero2 or zero3")
    if trial.share("optimizer_cpu") and str(trial.options.get("optimizer_step")) == "in-backward":
        raise UnsupportedError("an optimizer stepped in the backward pass is replayed on the GPU")


def replay(trial: Trial, device: Cpu, work: Path) -> dict[str, Any]:
    """Run the trial and return `measured` by rule and further `details`."""
    check(trial, device)
    world = ranks.join(device.kind, alone_too=ranks.is_fully_sharded(trial))
    result = _replay(trial, device, world)
    ranks.leave()  # after an error not: the others may never come to it
    return result


def _replay(trial: Trial, device: Cpu, world: ranks.World) -> dict[str, Any]:
    details: dict[str, Any] = {"attention": attention_of(trial.text("attention", "sdpa")), "ranks": world.size}
    with device.phase(LOAD):
        model = model_of(trial, device, details)
        model.train()
        model = ranks.sharded(model, trial, world, device)
    step = Step(model, trial, device, world)
    seconds = []
    with device.phase("warm-up"):
        for _ in range(WARM_STEPS):
            seconds.append(device.timed(step.run))
    if float(trial.options.get("length_variation") or 0.0) > 0:
        with device.phase("lengths that vary"):
            for share in VARIED_SHARES:
                step.run(share)
    begin = time.time()
    count = FEWEST_STEPS if seconds[-1] > LONG_STEP_S else TIMED_STEPS
    timed = [device.timed(step.run) for _ in range(count) if step.enter("steps", device)]
    step.leave()
    details |= {
        "timed": [begin, time.time()],
        "step_s": timed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        **step.host(),
    }
    if not math.isfinite(step.loss):  # no number that JSON could hold either
        return {"state": "garbage", "detail": f"the loss is {step.loss}", "details": details}
    details["loss"] = step.loss
    step_s = world.highest(median_s(timed))
    tokens = step.sequences * world.size * trial.number("sequence_tokens")
    measured: dict[str, float | None] = {"step": step_s, "token_rate": tokens / step_s}
    memory = {rule: int(world.highest(value)) for rule, value in device.memory().items()}
    held = step.static if step.static is not None else step.state_bytes()
    return {"state": "ok", "measured": measured | memory | {"static": int(world.highest(held))}, "details": details}


def model_of(trial: Trial, device: Cpu, details: dict[str, Any]) -> nn.Module:
    """The model, its adapters and its checkpointing, on the device; without memory where every rank fills its shard."""
    method, precision = trial.text("method", "full"), trial.text("precision", "bf16-mixed")
    config: Any = for_task(hf_config(trial.model), trains=True)
    config.use_cache = False
    dtype = dtype_of("bfloat16" if method != "full" else TRAIN_DTYPES[precision])
    in_shards = ranks.is_fully_sharded(trial)
    where = "cpu" if method == "qlora" or in_shards else device.kind
    with parameters_without_memory() if in_shards and method != "qlora" else contextlib.nullcontext():
        model: Any = build(config, dtype=dtype, device=where, attention=details["attention"])
    if method == "qlora":
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        base = trial.text("base_precision", "nf4")
        model = quantised(model, base, device.kind)
        model.is_loaded_in_4bit, model.is_loaded_in_8bit = base == "nf4", base == "int8"  # chooses peft's own layers
        if trial.options.get("kbit_upcast", True):
            upcast_small_parts(model)
    kind = trial.text("checkpointing", "none")
    if kind != "none":
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=checkpoint_options(kind, trial))
        if method != "full":
            model.enable_input_require_grads()
    if method != "full":
        model = adapted(model, trial)
    made: nn.Module = model
    return made


def upcast_small_parts(model: nn.Module) -> None:
    """What `prepare_model_for_kbit_training` does: everything that is not quantised becomes 32-bit."""
    import torch

    for parameter in model.parameters():
        if parameter.dtype in (torch.float16, torch.bfloat16) and type(parameter).__name__ != "Params4bit":
            parameter.data = parameter.data.to(torch.float32)


def checkpoint_options(kind: str, trial: Trial) -> dict[str, Any]:
    """How activations are recomputed: whole layers, or (selective) all but the products of matrices."""
    reentrant = bool(trial.options.get("checkpoint_reentrant", False))
    if kind == "full":
        return {"use_reentrant": reentrant}
    return {"use_reentrant": False, "context_fn": keeping_products}


def keeping_products() -> Any:
    """Keep what matrix products give and compute everything else again."""
    import torch
    from torch.utils import checkpoint

    ops = torch.ops.aten
    contexts: Any = checkpoint.create_selective_checkpoint_contexts
    return contexts([ops.mm.default, ops.addmm.default, ops.bmm.default])


def adapted(model: Any, trial: Trial) -> nn.Module:
    """The model with LoRA adapters from peft."""
    needs("peft", why="LoRA")
    from peft import LoraConfig, get_peft_model

    lora = dict(trial.config.get("lora") or {})
    rank = int(lora.get("rank") or trial.number("lora_rank", 8))
    targets = lora.get("target_modules") or "all-linear"
    adapters = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=float(lora.get("dropout") or 0.0),
        target_modules=targets if isinstance(targets, str) else list(targets),
    )
    full = str(lora.get("adapter_dtype") or "fp32") == "fp32"
    made: nn.Module = get_peft_model(model, adapters, autocast_adapter_dtype=full)
    return made


class Step:
    """One optimizer step, again and again."""

    def __init__(self, model: Any, trial: Trial, device: Cpu, world: ranks.World) -> None:
        import torch

        self.model, self.device, self.world = model, device, world
        self.accumulation = trial.number("accumulation")
        self.micro = trial.number("micro_batch")
        self.sequences = self.accumulation * self.micro
        self.length = trial.number("sequence_tokens")
        self.inside = ranks.plain(model)
        self.both = bool(self.inside.config.is_encoder_decoder)
        precision = trial.text("precision", "bf16-mixed")
        self.autocast = self._autocast(trial, precision)  # sharded weights are gathered in 16 bits instead
        kind = str(trial.options.get("optimizer_step") or "foreach")
        self.losses: list[torch.Tensor] = []
        self.static = None if device.held() is None else 0
        offload = 0.0 if trial.share("params_cpu") else trial.share("optimizer_cpu")  # the state is where weights are
        if kind == "in-backward":
            self.optimizers = list(self._in_backward(trial.text("optimizer", "adamw")))
        else:
            made = ranks.optimizer(model, trial, world, partial(optimizer_of, step=kind, offload_share=offload))
            self.optimizers = [made]
        self.stepping = kind != "in-backward"
        self.scaler = torch.amp.GradScaler(device.kind) if precision == "fp16-mixed" and device.kind == "cuda" else None
        self._phase = contextlib.ExitStack()
        self._timing = False

    def _autocast(self, trial: Trial, precision: str) -> Any:
        import torch

        mixed = {"bf16-mixed": torch.bfloat16, "fp16-mixed": torch.float16}.get(precision)
        asked = str(trial.options.get("autocast") or "")
        if mixed is None or asked == "none" or ranks.is_fully_sharded(trial):
            return contextlib.nullcontext()
        return torch.autocast(self.device.kind, mixed if self.device.kind == "cuda" else torch.bfloat16)

    def _in_backward(self, name: str) -> Iterator[torch.optim.Optimizer]:
        """An optimizer for each parameter, stepped as soon as its gradient is whole, which is then dropped."""
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                own = optimizer_of(name, [parameter])
                parameter.register_post_accumulate_grad_hook(partial(_step_and_drop, own))
                yield own

    def enter(self, name: str, device: Cpu) -> bool:
        """Open the phase of the timed steps at its first step."""
        if not self._timing:
            self._timing = True
            self._phase.enter_context(device.phase(name))
        return True

    def leave(self) -> None:
        """Close the phase of the timed steps."""
        self._phase.close()

    def run(self, share: float = 1.0) -> None:
        """Accumulate gradients over micro-batches, step, drop gradients; on sequences of a share of the length."""
        losses = []
        for index in range(self.accumulation):
            with ranks.last_only(self.model, self.world, last=index == self.accumulation - 1):
                losses.append(self._micro_step(max(1, int(share * self.length))))
        if self.stepping:
            for optimizer in self.optimizers:
                if self.scaler is None:
                    optimizer.step()
                else:
                    self.scaler.step(optimizer)
                    self.scaler.update()
            held = self.device.held()
            if held is not None and self.static is not None:
                self.static = max(self.static, held)
            for optimizer in self.optimizers:
                optimizer.zero_grad(set_to_none=True)
        self.losses = losses

    @property
    def loss(self) -> float:
        """Mean over the micro-batches of the last step."""
        return sum(float(loss) for loss in self.losses)

    def _micro_step(self, length: int) -> torch.Tensor:
        """The loss of one micro-batch, still on the device: reading it would wait for it."""
        fed = inputs.prompt(self.inside.config, sequences=self.micro, tokens=length, device=self.device.kind)
        if inputs.classifies(self.inside):
            labels = inputs.labels(self.inside, sequences=self.micro, tokens=length, device=self.device.kind)
        else:
            labels = fed["input_ids"].clone()
        answer = {"decoder_input_ids": fed["input_ids"]} if self.both else {}
        with self.autocast:
            loss = self.model(**fed, labels=labels, **answer).loss / self.accumulation
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        made: torch.Tensor = loss.detach()
        return made

    def host(self) -> dict[str, int]:
        """What the optimizer keeps in host memory, where it does."""
        found = [o.host_bytes() for o in self.optimizers if hasattr(o, "host_bytes")]
        return {"optimizer_host_bytes": sum(found)} if found else {}

    def state_bytes(self) -> int:
        """Bytes of weights, gradients of what is trained, and optimizer state, where no allocator counts."""
        seen: dict[int, int] = {}
        tensors = [*self.model.parameters(), *self.model.buffers()]
        tensors += [
            v for o in self.optimizers for s in o.state.values() for v in s.values() if hasattr(v, "untyped_storage")
        ]
        for tensor in tensors:
            for part in parts_of(local(tensor)):
                seen[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
        gradients = 0
        if self.stepping:
            trained = [local(p) for p in self.model.parameters() if p.requires_grad]
            gradients = sum(p.numel() * p.element_size() for p in trained)
        return sum(seen.values()) + gradients


def _step_and_drop(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> None:
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)

"""The loops a GPU runs: training steps, and a prompt with the tokens written after it.

Conventions, as the library's own trainer and `generate` have them: no padding; loss in 32 bit over all positions;
gradients set to None after each step; outputs but the loss dropped before backward; inputs replaced before each pass;
no gradient clipping, no schedule. Greedy decoding copies the last position's logits to 32 bit. The loops run on any
device: the tests run them on real CPU tensors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from validation import inputs
from validation.simulate import bnb, ddp
from validation.simulate.case import Case

LEARNING_RATE = 1e-4
Autocast = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Told what the loop does: where a phase begins, and what a tensor holds."""

    begin: Callable[[str], None]
    holds: Callable[[torch.Tensor, str], None]


def train(model: Any, case: Case, *, device: str, steps: int, watch: Watch, forward: Any = None) -> None:
    """Whole optimizer steps; from the second on, the optimizer's state is there. `forward` is called for the model."""
    model.train()
    if case.checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": case.reentrant})
        if case.adapters is not None:
            model.enable_input_require_grads()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizers = [o for group in of_one_kind(learning) for o in optimizers_of(case, model, group)]
    for step in range(steps):
        for number in range(case.micro_batches):
            with ddp.exchanging(forward, now=number == case.micro_batches - 1):
                _pass(model, case, device, watch, step, forward or model)
        watch.begin(f"step:{step}")
        for optimizer in optimizers:
            optimizer.step()
            for state in optimizer.state.values():
                for value in state.values():
                    if isinstance(value, torch.Tensor):
                        watch.holds(value, "optimizer")
        watch.begin(f"held:{step}")
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        watch.begin(f"between:{step}")


def _pass(model: Any, case: Case, device: str, watch: Watch, step: int, forward: Any) -> None:
    """One micro-batch forward and backward."""
    watch.begin(f"inputs:{step}")
    fed = inputs.prompt(model.config, sequences=case.sequences, tokens=case.tokens, device=device)
    targets = inputs.labels(model, sequences=case.sequences, tokens=case.tokens, device=device)
    for tensor in (*fed.values(), targets):
        watch.holds(tensor, "inputs")
    cache = {"use_cache": False} if inputs.generates(model.config, model) else {}
    watch.begin(f"forward:{step}")
    with autocast(case, device):
        loss = forward(**fed, labels=targets, **cache).loss
    if case.micro_batches > 1:
        loss = loss / case.micro_batches
    watch.begin(f"backward:{step}")
    loss.backward()
    for p in model.parameters():
        if p.grad is not None:
            watch.holds(p.grad, "gradients")


def of_one_kind(parameters: list[torch.nn.Parameter]) -> list[list[torch.nn.Parameter]]:
    """Split parameters and whole ones apart: no operation takes a list of both."""
    kinds: dict[type, list[torch.nn.Parameter]] = {}
    for p in parameters:
        kinds.setdefault(type(p.data), []).append(p)
    return list(kinds.values())


def optimizers_of(case: Case, model: Any, parameters: list[torch.nn.Parameter]) -> list[torch.optim.Optimizer]:
    """The optimizer of the case as torch or bitsandbytes ships it; Muon leaves all but hidden matrices to AdamW."""
    if case.optimizer in bnb.OPTIMIZERS:
        return [bnb.optimizer(case.optimizer, model, parameters, LEARNING_RATE)]
    fused, foreach = case.step == "fused", case.step == "foreach"
    if case.optimizer == "adamw":
        return [torch.optim.AdamW(parameters, lr=LEARNING_RATE, fused=fused, foreach=foreach)]
    if case.optimizer == "adafactor":
        return [torch.optim.Adafactor(parameters, lr=LEARNING_RATE, foreach=foreach)]
    if case.optimizer == "muon":
        ends = {id(p) for p in _ends_of(model)}
        matrices = [p for p in parameters if p.ndim == 2 and id(p) not in ends]
        others = [p for p in parameters if p.ndim != 2 or id(p) in ends]
        adamw = torch.optim.AdamW(others, lr=LEARNING_RATE, fused=fused, foreach=foreach)
        return [torch.optim.Muon(matrices, lr=LEARNING_RATE), adamw]
    momentum = 0.9 if case.optimizer == "sgd-momentum" else 0.0
    return [torch.optim.SGD(parameters, lr=LEARNING_RATE, momentum=momentum, fused=fused, foreach=foreach)]


def _ends_of(model: Any) -> Iterator[torch.nn.Parameter]:
    """Token table and output head."""
    for module in (model.get_input_embeddings(), model.get_output_embeddings()):
        if module is not None:
            yield module.weight


def autocast(case: Case, device: str) -> contextlib.AbstractContextManager[Any]:
    """The region a forward pass runs in; sharded parameters are gathered in 16 bit instead."""
    if case.autocast is None or case.shards > 1:
        return contextlib.nullcontext()
    region: contextlib.AbstractContextManager[Any] = torch.autocast(device, dtype=getattr(torch, case.autocast))
    return region


def infer(model: Any, case: Case, *, device: str, watch: Watch) -> None:
    """The prompt, then one token after another; one forward pass where the model does not write."""
    model.eval()
    with torch.no_grad():
        watch.begin("inputs")
        fed = inputs.prompt(model.config, sequences=case.sequences, tokens=case.tokens, device=device)
        for tensor in fed.values():
            watch.holds(tensor, "inputs")
        watch.begin("prefill")
        if not inputs.generates(model.config, model):
            model(**fed)
        elif model.config.is_encoder_decoder:
            _translate(model, case, fed["input_ids"], device, watch)
        else:
            _write(model, case, fed["input_ids"], watch)
        watch.begin("end")


def _write(model: Any, case: Case, ids: torch.Tensor, watch: Watch) -> None:
    cache = cache_of(model.config, case)
    options: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    if not case.all_logits:
        options["logits_to_keep"] = 1
    for step in range(max(case.output_tokens, 1)):
        out = model(input_ids=ids if step == 0 else ids[:, -1:], **options)
        _tell(cache, watch)
        ids = _chosen(ids, out.logits)
        del out
        if step == 0:
            watch.begin("decode")


def _chosen(ids: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The ids with the likeliest next token."""
    last = logits[:, -1, :].to(copy=True, dtype=torch.float32).argmax(-1)
    return torch.cat([ids, last[:, None]], dim=-1)


def _translate(model: Any, case: Case, ids: torch.Tensor, device: str, watch: Watch) -> None:
    """The encoder once, then the decoder with a cache of its own tokens and one of the encoder's."""
    from transformers import DynamicCache, EncoderDecoderCache

    encoded = model.get_encoder()(input_ids=ids)
    own, cross = DynamicCache(config=model.config), DynamicCache(config=model.config)
    cache = EncoderDecoderCache(own, cross)
    written = torch.zeros((case.sequences, inputs.DECODER_START), dtype=torch.long, device=device)
    for step in range(max(case.output_tokens, 1)):
        out = model(encoder_outputs=encoded, decoder_input_ids=written[:, -1:], past_key_values=cache, use_cache=True)
        _tell(own, watch)
        _tell(cross, watch)
        written = _chosen(written, out.logits)
        del out
        if step == 0:
            watch.begin("decode")


def cache_of(config: Any, case: Case) -> Any:
    """The cache that grows by concatenation, or the one of fixed size."""
    from transformers import DynamicCache, StaticCache

    if case.static_cache:
        return StaticCache(config=config, max_cache_len=case.tokens + case.output_tokens)
    return DynamicCache(config=config)


def _tell(cache: Any, watch: Watch) -> None:
    for tensor in _cached(cache.layers):
        watch.holds(tensor, "kv_cache")


def _cached(layers: Iterable[Any]) -> Iterator[torch.Tensor]:
    for layer in layers:
        for name in ("keys", "values"):
            tensor = getattr(layer, name, None)
            if isinstance(tensor, torch.Tensor):
                yield tensor

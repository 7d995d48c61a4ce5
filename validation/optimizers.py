"""Optimizers of a training replay, as a plan names them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from validation.formats import UnsupportedError, needs

if TYPE_CHECKING:
    import torch

LEARNING_RATE = 1e-4
STEP_KINDS = {"foreach": {"foreach": True}, "fused": {"fused": True}, "forloop": {"foreach": False}}


def optimizer_of(
    name: str, params: Iterable[torch.nn.Parameter], *, step: str = "foreach", offload_share: float = 0.0
) -> torch.optim.Optimizer:
    """The optimizer with torch's usual settings; `step` says how parameters are gone through.

    Raises UnsupportedError for a name or package that is not here.
    """
    import torch

    kept = [p for p in params if p.requires_grad]
    if offload_share:
        return _offloaded(name, kept)
    kind: dict[str, Any] = dict(STEP_KINDS.get(step, {}))
    match name:
        case "adamw":
            return torch.optim.AdamW(kept, lr=LEARNING_RATE, **kind)
        case "sgd" | "sgd-momentum":
            return torch.optim.SGD(kept, lr=LEARNING_RATE, momentum=0.9 if name == "sgd-momentum" else 0.0, **kind)
        case "adafactor":
            return _adafactor(kept)
        case "muon":
            return _muon(kept)
        case "adamw-8bit" | "adamw-paged-8bit" | "lion":
            return _bitsandbytes(name, kept)
        case _:
            raise UnsupportedError(f"no optimizer {name!r} in the replay")


def _adafactor(params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    needs("transformers", why="adafactor")
    from transformers.optimization import Adafactor

    kind: Any = Adafactor
    made: torch.optim.Optimizer = kind(
        params, lr=LEARNING_RATE, scale_parameter=False, relative_step=False, warmup_init=False
    )
    return made


def _bitsandbytes(name: str, params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    needs("bitsandbytes", why=f"optimizer {name}")
    import bitsandbytes as bnb

    kinds: dict[str, Any] = {
        "adamw-8bit": bnb.optim.AdamW8bit,
        "adamw-paged-8bit": bnb.optim.PagedAdamW8bit,
        "lion": bnb.optim.Lion,
    }
    made: torch.optim.Optimizer = kinds[name](params, lr=LEARNING_RATE)
    return made


def _offloaded(name: str, params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """State in host memory, the step on the CPU."""
    import torch

    if name != "adamw":
        raise UnsupportedError(f"state of {name} in host memory is not replayed; adamw is")
    if params[0].device.type == "cpu":
        raise UnsupportedError("optimizer state in host memory needs a GPU beside it")
    needs("torchao", why="optimizer state in host memory")
    from torchao.optim import CPUOffloadOptimizer

    made: torch.optim.Optimizer = CPUOffloadOptimizer(params, torch.optim.AdamW, offload_gradients=False, fused=True)
    return made


def _muon(params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Muon for matrices; everything else gets AdamW, as its authors advise. One object steps both."""
    import torch

    class Both(torch.optim.Optimizer):
        """Two optimizers as one."""

        def __init__(self) -> None:
            matrices = [p for p in params if p.ndim == 2]
            others = [p for p in params if p.ndim != 2]
            self.parts: list[torch.optim.Optimizer] = []
            if matrices:
                self.parts.append(torch.optim.Muon(matrices, lr=LEARNING_RATE))
            if others:
                self.parts.append(torch.optim.AdamW(others, lr=LEARNING_RATE))
            super().__init__(params, {})

        def step(self, closure: Any = None) -> Any:
            for part in self.parts:
                part.step()
            for part in self.parts:
                self.state.update(part.state)

    return Both()

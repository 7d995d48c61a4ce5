"""Optimizers of a training replay, as a plan names them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from validation.formats import UnsupportedError, needs

if TYPE_CHECKING:
    import torch

LEARNING_RATE = 1e-4
BITSANDBYTES = ("adamw-8bit", "adamw-paged-8bit", "lion")
STEP_KINDS = {"foreach": {"foreach": True}, "fused": {"fused": True}, "forloop": {"foreach": False}}


def optimizer_of(
    name: str, params: Iterable[torch.nn.Parameter], *, step: str = "foreach", offload_share: float = 0.0
) -> torch.optim.Optimizer:
    """The optimizer with torch's usual settings; `step` says how parameters are gone through.

    `offload_share` of the parameters are stepped by the CPU, with their states in host memory. Raises UnsupportedError
    for a name or package that is not here.
    """
    kept = [p for p in params if p.requires_grad]
    if offload_share:
        return _split(name, kept, step, offload_share)
    return _plain(name, kept, step)


def _plain(name: str, kept: list[torch.nn.Parameter], step: str) -> torch.optim.Optimizer:
    import torch

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
        case _ if name in BITSANDBYTES:
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


def by_share(params: Sequence[torch.nn.Parameter], share: float) -> tuple[list[Any], list[Any]]:
    """(kept here, given away): the last parameters, whole ones, until their values make up the share."""
    wanted = share * sum(p.numel() for p in params)
    given, cut = 0, len(params)
    while cut and given + params[cut - 1].numel() / 2 <= wanted:
        cut -= 1
        given += params[cut].numel()
    return list(params[:cut]), list(params[cut:])


def _split(name: str, params: list[torch.nn.Parameter], step: str, share: float) -> torch.optim.Optimizer:
    """Two optimizers as one: the CPU steps copies of some parameters, which are then brought back."""
    import torch

    if name in BITSANDBYTES:
        raise UnsupportedError(f"{name} has no kernels for states in host memory")
    here, outside = by_share(params, share)

    class Split(torch.optim.Optimizer):
        """`pairs` are parameters and what stands for them in host memory, gradients included."""

        def __init__(self) -> None:
            self.pairs = [(p, held_copy(p)) for p in outside]
            self.parts = [_plain(name, [held for _, held in self.pairs], "fused")] if self.pairs else []
            self.parts += [_plain(name, here, step)] if here else []
            super().__init__(params, {})

        def step(self, closure: Any = None) -> Any:
            for parameter, held in self.pairs:
                if parameter.grad is None:
                    held.grad = None
                else:
                    held.grad = held.spare.copy_(local(parameter.grad), non_blocking=True)
            wait_for_copies()
            for part in self.parts:
                part.step()
                self.state.update(part.state)
            for parameter, held in self.pairs:
                local(parameter.data).copy_(held.data, non_blocking=True)
            wait_for_copies()

        def host_bytes(self) -> int:
            """Copies, gradients and states in host memory."""
            own = [t for _, held in self.pairs for t in (held, held.spare)]
            states = [v for _, held in self.pairs for v in self.state.get(held, {}).values()]
            return sum(t.numel() * t.element_size() for t in (*own, *states) if isinstance(t, torch.Tensor))

    return Split()


def held_copy(parameter: torch.nn.Parameter) -> Any:
    """The parameter in host memory, with room for its gradient (`spare`); page-locked where a GPU copies from it."""
    import torch

    own = local(parameter.detach())
    locked = own.device.type == "cuda"
    held: Any = torch.nn.Parameter(torch.empty_like(own, device="cpu", pin_memory=locked))
    held.spare = torch.empty_like(own, device="cpu", pin_memory=locked)
    with torch.no_grad():
        held.copy_(own)
    return held


def wait_for_copies() -> None:
    """Until copies to and from the GPU are done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def local(tensor: Any) -> Any:
    """This rank's part of a sharded tensor."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _muon(params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Muon for matrices; everything else gets AdamW, as its authors advise. One object steps both."""
    import torch

    if not hasattr(torch.optim, "Muon"):
        raise UnsupportedError(f"optimizer muon needs torch 2.9 or later; this is {torch.__version__}")

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

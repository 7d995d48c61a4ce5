"""What a model is fed: ids, pixels, labels, all of one length and unpadded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DECODER_START = 1
"""Tokens an encoder-decoder's decoder begins with."""


def prompt(config: Any, *, sequences: int, tokens: int, device: str) -> dict[str, torch.Tensor]:
    """Inputs of one forward pass, by the argument that takes them."""
    import torch

    if takes_images(config):
        shape = (sequences, config.num_channels, config.image_size, config.image_size)
        return {"pixel_values": torch.empty(shape, device=device, dtype=torch.float32).uniform_()}
    return {"input_ids": torch.randint(0, vocabulary(config), (sequences, tokens), device=device)}


def vocabulary(config: Any) -> int:
    """Tokens that the model knows; of a model that sees as well, those of its language part."""
    return int(config.get_text_config().vocab_size)


def labels(model: Any, *, sequences: int, tokens: int, device: str) -> torch.Tensor:
    """Targets: one class a sequence for classifiers, one token a position for language models."""
    import torch

    config = model.config
    if classifies(model):
        return torch.randint(0, config.num_labels, (sequences,), device=device)
    return torch.randint(0, vocabulary(config), (sequences, tokens), device=device)


def takes_images(config: Any) -> bool:
    """Pixels go in."""
    return hasattr(config, "image_size") and hasattr(config, "num_channels")


def classifies(model: Any) -> bool:
    """A class comes out, not tokens."""
    return type(model_inside(model)).__name__.endswith("Classification")


def model_inside(model: Any) -> Any:
    """The library's model without the wrapper that adapters put around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def generates(config: Any, model: Any) -> bool:
    """It writes token by token with a cache."""
    return type(model_inside(model)).__name__.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))

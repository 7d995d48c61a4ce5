"""One model of the catalog: who it is, how it is built, where that was read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planner.architecture.schema_media import (
    ContrastiveArchitecture,
    ConvnextArchitecture,
    DiffusionArchitecture,
    ResnetArchitecture,
    SwinArchitecture,
    VitArchitecture,
    Wav2Vec2Architecture,
    WhisperArchitecture,
)
from planner.architecture.schema_parts import PositiveInt, Strict
from planner.architecture.schema_text import (
    BertArchitecture,
    DecoderArchitecture,
    DeepseekV4Architecture,
    EncoderDecoderArchitecture,
    Gemma3nArchitecture,
)

Task = Literal["text-generation", "vision-language", "embedding", "encoder", "seq2seq", "speech", "vision", "diffusion"]
Architecture = Annotated[
    DecoderArchitecture
    | DeepseekV4Architecture
    | Gemma3nArchitecture
    | BertArchitecture
    | EncoderDecoderArchitecture
    | WhisperArchitecture
    | Wav2Vec2Architecture
    | VitArchitecture
    | ContrastiveArchitecture
    | ResnetArchitecture
    | SwinArchitecture
    | ConvnextArchitecture
    | DiffusionArchitecture,
    Field(discriminator="kind"),
]


class Checkpoint(Strict):
    """What the published files hold beside the module's parameters."""

    values: PositiveInt | None = None
    """Values stored in the main repository's files."""
    note: str


class ModelEntry(Strict):
    """A model of the catalog. Its parameter count is derived, never written here."""

    id: str
    aliases: tuple[str, ...] = ()
    family: str
    task: Task
    license: str | None = None
    release_date: str | None = None
    native_dtype: str
    """What the main repository ships."""
    max_context: PositiveInt | None = None
    architecture: Architecture
    checkpoint: Checkpoint | None = None
    source: str
    as_of: str
    confidence: Literal["high", "medium", "low"] = "high"
    note: str | None = None

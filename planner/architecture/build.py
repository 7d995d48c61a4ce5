"""From a catalog entry to the inventory of tensors: the one door to all families."""

from __future__ import annotations

from typing import assert_never

from planner.architecture.bert import build_bert
from planner.architecture.decoder import build_decoder
from planner.architecture.deepseek_v4 import build_deepseek_v4
from planner.architecture.diffusion import build_diffusion
from planner.architecture.encoder_decoder import build_encoder_decoder
from planner.architecture.gemma3n import build_gemma3n
from planner.architecture.schema import ModelEntry
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
from planner.architecture.schema_text import (
    BertArchitecture,
    DecoderArchitecture,
    DeepseekV4Architecture,
    EncoderDecoderArchitecture,
    Gemma3nArchitecture,
)
from planner.architecture.speech import build_wav2vec2, build_whisper
from planner.architecture.types import Model
from planner.architecture.vision import build_contrastive, build_convnext, build_resnet, build_swin, build_vit


def build_model(entry: ModelEntry) -> Model:
    """Every parameter tensor and layer of a model, derived from its architecture."""
    arch = entry.architecture
    match arch:
        case DecoderArchitecture():
            return build_decoder(entry, arch)
        case DeepseekV4Architecture():
            return build_deepseek_v4(entry, arch)
        case Gemma3nArchitecture():
            return build_gemma3n(entry, arch)
        case BertArchitecture():
            return build_bert(entry, arch)
        case EncoderDecoderArchitecture():
            return build_encoder_decoder(entry, arch)
        case WhisperArchitecture():
            return build_whisper(entry, arch)
        case Wav2Vec2Architecture():
            return build_wav2vec2(entry, arch)
        case VitArchitecture():
            return build_vit(entry, arch)
        case ContrastiveArchitecture():
            return build_contrastive(entry, arch)
        case ResnetArchitecture():
            return build_resnet(entry, arch)
        case SwinArchitecture():
            return build_swin(entry, arch)
        case ConvnextArchitecture():
            return build_convnext(entry, arch)
        case DiffusionArchitecture():
            return build_diffusion(entry, arch)
        case _:
            assert_never(arch)

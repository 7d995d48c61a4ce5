"""Catalog entries written as `config.json` build the models they describe."""

from __future__ import annotations

import pytest
import torch

from planner.architecture.build import build_model
from planner.architecture.catalog import ModelCatalog
from planner.architecture.hf.write import config_of
from planner.resources import data_folder
from validation.models import build, hf_config

pytestmark = pytest.mark.filterwarnings("ignore")  # the library warns of odd defaults and of things it deprecates

ONE_OF_EACH = (
    "meta-llama/Llama-3.1-8B",
    "Qwen/Qwen2.5-7B",
    "Qwen/Qwen3-30B-A3B",
    "mistralai/Mixtral-8x7B-v0.1",
    "google/gemma-2-2b",
    "google/gemma-3-1b-it",
    "microsoft/Phi-3-mini-4k-instruct",
    "tiiuae/falcon-7b",
    "tiiuae/falcon-40b",
    "EleutherAI/pythia-1.4b",
    "facebook/opt-350m",
    "gpt2-xl",
    "bigscience/bloom-560m",
    "google-t5/t5-base",
    "intfloat/e5-mistral-7b-instruct",
    "facebook/bart-large",
    "google-bert/bert-base-uncased",
    "google/vit-base-patch16-224",
    "openai/gpt-oss-20b",
)


@pytest.fixture(scope="module")
def models() -> ModelCatalog:
    return ModelCatalog(data_folder("catalogs") / "models")


def test_most_of_the_catalog_can_be_built_by_a_replay(models: ModelCatalog) -> None:
    written = [name for name in models.ids() if config_of(models.entry(name)) is not None]
    assert len(written) >= 190


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_library_builds_the_parameters_the_catalog_counts(models: ModelCatalog, name: str) -> None:
    entry = models.entry(name)
    keys = config_of(entry)
    assert keys is not None
    headless = {"architectures": ["BertModel"]} if entry.task == "encoder" else {}
    model = build(hf_config(keys | headless), dtype=torch.bfloat16, device="meta")
    assert sum(p.numel() for p in model.parameters()) == build_model(entry).params_total


def test_a_model_without_a_writer_has_no_config(models: ModelCatalog) -> None:
    assert config_of(models.entry("openai/whisper-large-v3")) is None

"""Listing and showing: every kind has rows, and any name is found whatever catalog it lies in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from planner.architecture.catalog import ModelCatalog
from planner.catalog.import_model import import_config
from planner.catalog.load import Catalog
from planner.catalog.show import Kind, readable, rows, show
from planner.errors import InputError, UnknownNameError


@pytest.mark.parametrize(
    ("kind", "number"), [("gpus", 108), ("nodes", 45), ("offers", 558), ("models", 339), ("energy", 63)]
)
def test_a_list_has_one_row_per_entry(catalog: Catalog, kind: Kind, number: int) -> None:
    assert len(rows(catalog, kind)) == number


@pytest.mark.parametrize("kind", get_args(Kind))
def test_rows_of_a_kind_have_the_same_columns_and_are_plain_data(catalog: Catalog, kind: Kind) -> None:
    found = rows(catalog, kind)
    assert len({tuple(row) for row in found}) == 1
    json.dumps(found, allow_nan=False)


def test_a_filter_looks_into_every_cell_and_into_aliases(catalog: Catalog) -> None:
    assert {row["arch"] for row in rows(catalog, "gpus", "HOPPER")} == {"hopper"}
    assert "meta-llama/Llama-2-7b-hf" in {row["id"] for row in rows(catalog, "models", "llama-2-7b")}
    assert rows(catalog, "nodes", "no such text") == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("h100-sxm-80gb", "gpus"),
        ("DGX-H100", "nodes"),
        ("nf4", "precisions"),
        ("vllm@0.11.0", "engines"),
        ("ca-qc", "energy"),
        ("llama-2-7b", "models"),
        ("aws/g5.xlarge/us-east-1", "offers"),
    ],
)
def test_a_name_is_found_in_whichever_catalog_it_lies(catalog: Catalog, name: str, place: str) -> None:
    entry = show(catalog, name)
    assert entry["catalog"] == place
    assert entry["source"]
    assert entry["as_of"]


def test_an_unknown_name_brings_near_matches_from_all_catalogs(catalog: Catalog) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown catalog entry 'h100'; nearest: .*dgx-h100"):
        show(catalog, "h100")


def test_text_for_people_says_gib_and_never_changes_names(catalog: Catalog) -> None:
    (row,) = rows(catalog, "gpus", "h200-sxm")
    text = readable(row)
    assert (text["memory"], text["hbm"], text["link"]) == ("140.4 GiB", "4.8 TB/s", "450 GB/s")
    assert text["id"] == "h200-sxm-141gb"


LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
    "max_position_embeddings": 512,
    "torch_dtype": "bfloat16",
}


def test_an_imported_config_is_an_entry_the_catalog_reads(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(LLAMA))
    models = tmp_path / "models"
    models.mkdir()
    (models / "own.yaml").write_text(import_config(config, "me/tiny: llama".replace(": ", "-")))
    model = ModelCatalog(models).get("me/tiny-llama")
    attention, mlp, norms = 64 * 64 * 2 + 64 * 32 * 2, 3 * 64 * 128, 2 * 64
    assert model.params_total == 2 * (attention + mlp + norms) + 2 * 1000 * 64 + 64


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1, 2]", "holds no JSON object"), ("{", "not JSON"), (" " * 1_100_000, "over 1 MiB")],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(text)
    with pytest.raises(InputError, match=words):
        import_config(config, "me/x")


def test_a_missing_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        import_config(tmp_path / "config.json", "me/x")

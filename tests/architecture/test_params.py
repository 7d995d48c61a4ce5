"""Parameter counts are derived, and equal those counted in the published models."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from planner.architecture.catalog import ModelCatalog

with (Path(__file__).parent / "params.csv").open(encoding="utf-8") as file:
    COUNTED = {row["id"]: (int(row["total"]), int(row["active"])) for row in csv.DictReader(file)}


def test_every_catalog_model_has_a_counted_fact(catalog: ModelCatalog) -> None:
    assert len(COUNTED) == 339
    assert set(catalog.ids()) == set(COUNTED)


@pytest.mark.parametrize("model_id", COUNTED)
def test_parameters_equal_the_counted_ones(catalog: ModelCatalog, model_id: str) -> None:
    model = catalog.get(model_id)
    assert (model.params_total, model.params_active) == COUNTED[model_id]


@pytest.mark.parametrize("model_id", COUNTED)
def test_layers_stand_in_order_and_every_one_belongs_to_a_block(catalog: ModelCatalog, model_id: str) -> None:
    model = catalog.get(model_id)
    placed = {index: model.layer_order.count(index) for index in set(model.layer_order)}
    assert placed == {index: model.blocks[index].num_layers for index in placed}
    assert len({block.stack for index, block in enumerate(model.blocks) if index in placed}) == 1


@pytest.mark.parametrize("model_id", COUNTED)
def test_names_tell_tensors_of_one_role_apart(catalog: ModelCatalog, model_id: str) -> None:
    model = catalog.get(model_id)
    for block in model.blocks:
        pairs = [(t.name, t.role) for t in block.tensors]
        assert len(set(pairs)) == len(pairs), block.name
    assert len({(t.name, t.role) for t in model.outer}) == len(model.outer)


def test_weights_shared_by_all_layers_count_once(catalog: ModelCatalog) -> None:
    albert = catalog.get("albert-base-v2")
    (block,) = albert.blocks
    assert block.num_layers == 12
    assert block.num_params == block.num_params_per_layer


def test_tied_heads_have_no_tensor_yet_are_computed(catalog: ModelCatalog) -> None:
    tied, untied = catalog.get("meta-llama/Llama-3.2-1B"), catalog.get("meta-llama/Llama-3.1-8B")
    assert tied.tied_embeddings
    assert tied.has_head
    assert not any(t.role == "head" for t in tied.outer)
    assert [t.num_params for t in untied.outer if t.role == "head"] == [128256 * 4096]


def test_embedding_models_compute_no_head(catalog: ModelCatalog) -> None:
    assert not catalog.get("Qwen/Qwen3-Embedding-8B").has_head
    assert not catalog.get("bert-base").has_head

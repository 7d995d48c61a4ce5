"""Finding models, and refusing faulty catalogs."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.architecture.catalog import ModelCatalog
from planner.architecture.schema import ModelEntry
from planner.errors import InputError, UnknownNameError

ENTRY = """\
- id: acme/tiny
  aliases: [tiny, small]
  family: Acme
  task: text-generation
  native_dtype: bfloat16
  max_context: 128
  architecture:
    kind: decoder
    num_layers: 2
    hidden_size: 8
    vocab_size: 16
    tied_embeddings: true
    attention: {num_heads: 2, num_kv_heads: 1, head_dim: 4}
    feed_forward: {intermediate_size: 16, gated: true, activation: silu}
  source: made up for this test
  as_of: "2026-01-01"
"""


def written(folder: Path, text: str, name: str = "a.yaml") -> ModelCatalog:
    (folder / name).write_text(text, encoding="utf-8")
    return ModelCatalog(folder)


def test_shipped_catalog_has_no_problem(catalog: ModelCatalog) -> None:
    assert catalog.check() == []


@pytest.mark.parametrize("name", ["acme/tiny", "ACME/Tiny", "tiny", "Small"])
def test_names_and_aliases_are_found_in_any_case(tmp_path: Path, name: str) -> None:
    # embedding 16 x 8; a layer: q and o 8 x 8, k and v 4 x 8, MLP 3 x 8 x 16, two norms; a last norm
    expected = 128 + 2 * (2 * 64 + 2 * 32 + 384 + 16) + 8
    assert written(tmp_path, ENTRY).get(name).params_total == expected


def test_bare_repository_name_is_enough_where_it_is_unique(catalog: ModelCatalog) -> None:
    assert catalog.entry("Llama-3.1-70B").id == "meta-llama/Llama-3.1-70B"


def test_unknown_name_offers_near_ones(catalog: ModelCatalog) -> None:
    with pytest.raises(UnknownNameError, match="llama-2-7b") as caught:
        catalog.get("lama-2-7b")
    assert caught.value.nearest[0] == "llama-2-7b"


def test_only_the_entry_asked_for_is_parsed(tmp_path: Path) -> None:
    broken = "- id: acme/broken\n  aliases: []\n  family: {{\n"
    models = written(tmp_path, broken + ENTRY)
    assert models.get("tiny").family == "Acme"
    with pytest.raises(InputError, match=r"a\.yaml:1"):
        models.get("acme/broken")


def test_entry_out_of_format_is_named_with_its_line(tmp_path: Path) -> None:
    models = written(tmp_path, ENTRY + "- family: Acme\n  id: acme/late\n")
    with pytest.raises(InputError, match=r"a\.yaml:17: an entry begins with"):
        models.ids()


def test_check_reports_duplicate_names(tmp_path: Path) -> None:
    written(tmp_path, ENTRY)
    models = written(tmp_path, ENTRY.replace("acme/tiny", "acme/other"), "b.yaml")
    problems = models.check()
    assert sum("names more than one model" in p for p in problems) == 4
    assert any(p.startswith("b.yaml:1: 'tiny'") for p in problems)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("made up for this test", '""', "source is empty"),
        ("  source: made up for this test\n", "", "source: Field required"),
        ("num_layers: 2", "num_layers: 0", "num_layers: Input should be greater than 0"),
        ("num_layers: 2", "num_layers: two", "num_layers: Input should be a valid integer"),
        ("num_layers: 2", "num_layers: 2\n    params_total: 7", "params_total: Extra inputs are not permitted"),
        ("kind: decoder", "kind: decodr", "does not match any of the expected tags"),
        ("    feed_forward: {intermediate_size: 16, gated: true, activation: silu}\n", "", "feed_forward is missing"),
        ("num_layers: 2", "num_layers: 2\n    mixers: [full, sliding]", "local_attention is missing"),
        ("num_layers: 2", "num_layers: 2\n    mixers: [full, full, full]", "mixers lists 3 layers, the model has 2"),
    ],
)
def test_check_names_each_fault(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in ENTRY
    (problem,) = written(tmp_path, ENTRY.replace(old, new)).check()
    assert message in problem
    assert problem.startswith("a.yaml:1: acme/tiny")


def test_files_are_sorted_and_every_entry_says_where_it_is_from(catalog: ModelCatalog) -> None:
    files = sorted(catalog.folder.glob("*.yaml"))
    assert files
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()
        found = [line.removeprefix("- id: ").casefold() for line in lines if line.startswith("- id: ")]
        assert found == sorted(found), path.name
        assert sum(line.startswith("  source: ") for line in lines) == len(found)
        assert sum(line.startswith("  as_of: ") for line in lines) == len(found)
        assert not any("params_total" in line or "params_active" in line for line in lines)


def test_every_entry_survives_writing_without_defaults(catalog: ModelCatalog) -> None:
    for name in catalog.ids():
        entry = catalog.entry(name)
        written_down = entry.model_dump(mode="json", exclude_defaults=True)
        assert ModelEntry.model_validate(written_down) == entry

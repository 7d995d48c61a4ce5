"""Reading the catalogs: lazily, with errors that name the place, and names that forgive."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.catalog.engines import engine_profile
from planner.catalog.load import Catalog
from planner.catalog.types import EngineProfile
from planner.errors import InputError, UnknownNameError

Damaged = Callable[[str, str, str], Catalog]


def profile(engine: str, since: str, before: str | None = None) -> EngineProfile:
    return EngineProfile(
        engine=engine,
        since=since,
        before=before,
        modes=("infer",),
        vendors=("nvidia",),
        precisions=("bf16",),
        options={},
        source="test",
        as_of="2026",
    )


ENGINES = [profile("vllm", s) for s in ("0.11.0", "0.4.6.post1", "0.9")] + [profile("sglang", "1.2.0rc5")]


def test_names_are_found_whatever_their_case(catalog: Catalog) -> None:
    assert catalog.gpu("H100-SXM-80GB").id == "h100-sxm-80gb"
    assert catalog.node("DGX-H100").id == "dgx-h100"
    assert catalog.precision("GGUF-Q4_K_M").id == "gguf-q4_k_m"
    assert catalog.offer("AWS/G5.xlarge/US-east-1").id == "aws/g5.xlarge/us-east-1"


@pytest.mark.parametrize(
    ("look_up", "name", "near"),
    [
        ("gpu", "h100-sxm", "h100-sxm-80gb"),
        ("gpu", "rtx4090-24gb", "rtx-4090-24gb"),
        ("node", "dgxh100", "dgx-h100"),
        ("precision", "int4_awq", "int4-awq"),
        ("engine", "vlm", "vllm"),
        ("region", "us-tz", "us-tx"),
        ("offer", "aws/g5.xlarg/us-east-1", "aws/g5.xlarge/us-east-1"),
    ],
)
def test_an_unknown_name_brings_near_matches(catalog: Catalog, look_up: str, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        getattr(catalog, look_up)(name)
    assert near in caught.value.nearest
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "since"),
    [
        ("vllm", "0.11.0"),
        ("VLLM@0.11.0", "0.11.0"),
        ("vllm@0.10.2", "0.9"),
        ("vllm@0.9.0.1", "0.9"),
        ("vllm@0.4.6.post1", "0.4.6.post1"),
        ("vllm@0.8.5", "0.4.6.post1"),
        ("vllm@12", "0.11.0"),
        ("sglang@1.2.0", "1.2.0rc5"),
    ],
)
def test_a_version_takes_the_newest_profile_not_newer_than_itself(asked: str, since: str) -> None:
    assert engine_profile(asked, ENGINES).since == since


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("vllm@0.4.6", "older than every profile; nearest: vllm@0.4.6.post1"),
        ("sglang@1.2.0rc4", "nearest: sglang@1.2.0rc5"),
        ("vllm@new", "'new' is not a version"),
        ("vllm@", "names no version"),
    ],
)
def test_a_version_without_profile_is_an_error_that_names_the_nearest(asked: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        engine_profile(asked, ENGINES)


@pytest.mark.parametrize(("version", "held"), [("1.9.9", True), ("2", False), ("2.0.0rc1", False), ("2.0.1", False)])
def test_the_newest_profile_ends_where_it_says(version: str, held: bool) -> None:
    profiles = [profile("e", "1.0"), profile("e", "1.5", before="2.0")]
    if held:
        assert engine_profile(f"e@{version}", profiles).since == "1.5"
    else:
        with pytest.raises(InputError, match=r"newer than every profile; .* nearest: e@1.5, e@1.0"):
            engine_profile(f"e@{version}", profiles)


@given(
    st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=6, unique=True),
    st.tuples(*[st.integers(0, 30)] * 3),
)
def test_profile_choice_agrees_with_comparing_number_by_number(
    known: list[tuple[int, int, int]], wanted: tuple[int, int, int]
) -> None:
    profiles = [profile("e", ".".join(map(str, v))) for v in known]
    older = [v for v in known if v <= wanted]
    asked = f"e@{'.'.join(map(str, wanted))}"
    if older:
        assert engine_profile(asked, profiles).since == ".".join(map(str, max(older)))
    else:
        with pytest.raises(InputError, match="older than every profile"):
            engine_profile(asked, profiles)


def test_shipped_engines_know_the_contracts_names(catalog: Catalog) -> None:
    for name in ("vllm", "sglang", "trtllm", "transformers", "llamacpp", "exllama"):
        assert "infer" in catalog.engine(name).modes
    for name in ("transformers", "torchtitan", "torchtune", "megatron", "deepspeed", "litgpt", "llm-foundry"):
        assert "train" in catalog.engine(name).modes


def test_parts_are_read_only_when_asked_for(damaged: Damaged) -> None:
    broken = damaged("offers/aws.yaml", "- id:", "- {id:")
    assert broken.gpu("l4").id == "l4"
    with pytest.raises(InputError, match=r"aws\.yaml: not YAML"):
        _ = broken.offers


def test_faults_name_file_entry_and_field_all_at_once(damaged: Damaged) -> None:
    broken = damaged("nodes.yaml", "num_gpus: 8", "num_gpus: none\n  colour: red")
    with pytest.raises(InputError) as caught:
        _ = broken.nodes
    text = "\n".join(caught.value.messages)
    assert "nodes.yaml: dgx-a100-40gb: num_gpus:" in text
    assert "nodes.yaml: dgx-a100-40gb: colour: Extra inputs" in text


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("- id: dgx-h100\n", "- id: dgx-h200\n", "'dgx-h200' stands there twice"),
        ("- id: dgx-a100-40gb", "nodes: {}\n\nid: dgx-a100-40gb", "not YAML|no list of entries"),
    ],
)
def test_a_file_of_another_shape_is_refused(damaged: Damaged, old: str, new: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        _ = damaged("nodes.yaml", old, new).nodes


def test_a_missing_folder_or_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such catalog folder"):
        Catalog.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"nodes\.yaml: No such file"):
        _ = Catalog.load(tmp_path).nodes


def test_the_hash_changes_with_any_byte_and_any_name(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- 1\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.yaml").write_text("- 2\n")
    first = Catalog.load(tmp_path).sha256()
    assert Catalog.load(tmp_path).sha256() == first
    (tmp_path / "sub" / "b.yaml").rename(tmp_path / "sub" / "c.yaml")
    renamed = Catalog.load(tmp_path).sha256()
    (tmp_path / "a.yaml").write_text("- 3\n")
    assert len({first, renamed, Catalog.load(tmp_path).sha256()}) == 3

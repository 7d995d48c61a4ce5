"""The classic worked example: one layer's cache is not the model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.architecture.types import Attention, Block, Model
from planner.errors import InputError
from planner.estimate.document import EstimateDocument, FailedEstimate, WorkloadEstimate
from planner.explain.article import Article, as_markdown
from planner.explain.classic import CacheShape, cache_shape, classic_page, comparison, groups_of
from planner.units import GIB, MIB

FIXTURE = Path(__file__).parent.parent / "report" / "fixtures" / "estimate.json"
LLAMA_7B = CacheShape(num_layers=32, num_heads=32, head_dim=128, batch=1, num_tokens=2048, value_bytes=2)


def small(name: str, *, weights: int, usable: int, fits: bool, kv_cache: int = GIB) -> WorkloadEstimate:
    """An estimate with three parts of memory."""
    some = EstimateDocument.model_validate_json(FIXTURE.read_text(encoding="utf-8")).workloads[0]
    assert isinstance(some, WorkloadEstimate)
    parts = {"weights": weights, "kv_cache": kv_cache, "context": 512 * MIB}
    memory = some.memory.model_copy(
        update={"per_gpu_bytes": parts, "device_peak_bytes": sum(parts.values()), "usable_bytes": usable}
    )
    return some.model_copy(update={"name": name, "memory": memory, "fits": fits, "params_total": 6_738_415_616})


@pytest.fixture
def document() -> EstimateDocument:
    return EstimateDocument(
        workloads=(
            small("fits / T4 in 16 bits", weights=13_476_831_232, usable=15_095 * MIB, fits=True),
            small("fits / 8 GB card in 16 bits", weights=13_476_831_232, usable=8_188 * MIB, fits=False),
            small("doubling the batch / batch 1", weights=8 * GIB, usable=80 * GIB, fits=True),
            small("doubling the batch / batch 2", weights=8 * GIB, usable=80 * GIB, fits=True, kv_cache=2 * GIB),
        )
    )


def decoder(*attentions: Attention | None) -> Model:
    blocks = tuple(
        Block(name=f"b{i}", stack="decoder", num_layers=4, hidden_size=64, tensors=(), attention=a)
        for i, a in enumerate(attentions)
    )
    return Model(
        id="toy",
        family="toy",
        task="text-generation",
        hidden_size=64,
        vocab_size=10,
        tied_embeddings=False,
        max_context=None,
        native_dtype="bfloat16",
        blocks=blocks,
        outer=(),
        layer_order=tuple(i for i in range(len(blocks)) for _ in range(4)),
    )


def heads(num_kv_heads: int) -> Attention:
    return Attention(
        kind="full",
        num_heads=8,
        num_kv_heads=num_kv_heads,
        head_dim=16,
        value_dim=16,
        kv_values_per_token=2 * num_kv_heads * 16,
    )


def test_the_rule_gives_one_layer_and_the_model_has_32() -> None:
    assert LLAMA_7B.one_layer_bytes == 33_554_432
    assert LLAMA_7B.all_layers_bytes == 1_073_741_824


def test_the_page_shows_both_numbers_and_the_exact_parameter_count(document: EstimateDocument) -> None:
    page = classic_page(LLAMA_7B, document)
    assert "1 × 32 × 2,048 × 128 × 2 × 2 = 33,554,432 bytes = 33.55 MB (32.0 MiB)" in page
    assert "33,554,432 × 32 = 1,073,741,824 bytes = 1.00 GiB" in page
    assert "**6,738,415,616** parameters" in page
    assert "the estimate below holds exactly that" in page


def test_the_page_says_what_fits_and_what_does_not(document: EstimateDocument) -> None:
    rows = [line for line in classic_page(LLAMA_7B, document).splitlines() if " in 16 bits " in line]
    assert rows[0].endswith("| 14.05 | 14.74 | yes |")
    assert rows[1].endswith("| 14.05 | 8.00 | **no** |")


def test_a_cache_that_is_not_the_rule_times_layers_is_not_called_equal(document: EstimateDocument) -> None:
    shape = CacheShape(num_layers=40, num_heads=40, head_dim=128, batch=1, num_tokens=2048, value_bytes=2)
    assert "holds 1,073,741,824 bytes" in classic_page(shape, document)


def test_a_comparison_shows_each_part_and_the_growth_of_the_peak(document: EstimateDocument) -> None:
    parts = comparison("Doubling the batch", groups_of(document)["doubling the batch"])
    lines = as_markdown(Article(title="Example", parts=tuple(parts))).splitlines()[2:]
    assert lines[4] == "| batch 1 | 8.00 | 1.00 | 0.50 | 9.50 | 1× |"
    assert lines[5] == "| batch 2 | 8.00 | 2.00 | 0.50 | 10.50 | 1.11× |"


def test_the_shape_is_read_off_the_model() -> None:
    shape = cache_shape(decoder(heads(8)), batch=2, num_tokens=10, value_bytes=2)
    assert (shape.num_layers, shape.num_heads, shape.head_dim) == (4, 8, 16)


@pytest.mark.parametrize("attentions", [(heads(2),), (heads(8), None), ()])
def test_the_rule_is_refused_for_models_it_has_no_meaning_for(attentions: tuple[Attention | None, ...]) -> None:
    with pytest.raises(InputError, match="the popular rule needs equal layers"):
        cache_shape(decoder(*attentions), batch=1, num_tokens=1, value_bytes=2)


def test_a_workload_that_failed_stops_the_page(document: EstimateDocument) -> None:
    broken = EstimateDocument(workloads=(*document.workloads, FailedEstimate(name="fits / x", error="no such GPU")))
    with pytest.raises(InputError, match="no such GPU"):
        classic_page(LLAMA_7B, broken)

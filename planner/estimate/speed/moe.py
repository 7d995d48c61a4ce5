"""Time of routed experts: which experts are read, how the tokens spread, what dispatch costs."""

from __future__ import annotations

import numpy as np

from planner.architecture.types import Moe
from planner.estimate.speed.columns import GemmColumns
from planner.estimate.speed.gemm import product_time
from planner.estimate.speed.kernels import Shared
from planner.estimate.speed.times import Seconds
from planner.estimate.types import Floats
from planner.estimate.work import Product, distinct_experts


def imbalance(tokens_per_expert: Floats, ranks: Floats) -> Floats:
    """Load of the fullest expert-parallel rank over the mean.

    Balls in bins: with T tokens per rank the largest of n ranks holds about 1 + sqrt(2 ln(n) / T) of the mean; real
    routing is skewed, so T counts tokens per expert of the rank. Capped at 2.

    >>> float(imbalance(np.array([16.0]), np.array([1.0]))[0])
    1.0
    """
    spread = np.sqrt(2.0 * np.log(np.maximum(ranks, 1.0)) / np.maximum(tokens_per_expert, 1e-9))
    return 1.0 + np.minimum(spread, 1.0)


def expert_time(
    params: GemmColumns,
    shared: Shared,
    product: Product,
    moe: Moe,
    *,
    tokens: Floats,
    expert_ranks: Floats,
    expert_split: Floats,
    peak_factor: Floats | float,
) -> Seconds:
    """Seconds of one expert matrix of one layer, per GPU.

    `tokens` meet the layer's experts, which are dealt over `expert_ranks`; every expert's inner width is split over
    `expert_split` GPUs. The experts reached run as one grouped product; each is read once whatever its tokens.
    """
    reached = distinct_experts(moe.num_experts, moe.top_k, tokens * shared.expert_skew)
    reached = np.maximum(reached, np.minimum(float(moe.top_k), moe.num_experts))
    here = np.maximum(reached / expert_ranks, np.minimum(1.0, reached))
    uneven = imbalance(tokens * moe.top_k / moe.num_experts, expert_ranks)
    assignments = tokens * moe.top_k / expert_ranks * uneven
    columns = product.out_features / (expert_split if product.split == "columns" else 1.0)
    depth = product.in_features / (expert_split if product.split == "rows" else 1.0)
    return product_time(
        params,
        rows=assignments / here,
        columns=np.asarray(columns, dtype=np.float64) + np.zeros(1),
        depth=np.asarray(depth, dtype=np.float64) + np.zeros(1),
        weight_bytes=product.bytes_per_weight,
        groups=here,
        peak_factor=peak_factor * shared.expert_peak_share,
    )

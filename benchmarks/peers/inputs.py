"""Published records and the shapes of their models as plain JSON, for packages in an environment of their own.

python -m benchmarks.peers.inputs > inputs.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from planner.accuracy.predict import FLEET, workload_key
from planner.accuracy.score import load
from planner.architecture.types import Model
from planner.catalog.load import Catalog
from planner.errors import ImpossibleError, InputError
from planner.estimate.request import resolve_model
from planner.spec.types import Spec

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Write the records and, once each, their models."""
    catalog = Catalog.load()
    records, models = [], {}
    for record in load([ROOT / "validation" / "records" / "published"]):
        workload = dict(record.workload)
        key = workload_key({"model": workload["model"]})
        if key not in models:
            models[key] = shape(workload, catalog)
        records.append(
            {
                "id": record.id,
                "rules": [q.rule for q in record.quantities],
                "workload": workload,
                "model": key,
                "given": record.details.get("given", {}),
            }
        )
    json.dump({"models": models, "records": records}, sys.stdout)


def shape(workload: dict[str, Any], catalog: Catalog) -> dict[str, Any] | None:
    """Sizes of the model; None where the packages' flat shapes cannot say it."""
    spec = Spec.model_validate({"version": 1, "name": "peers", "fleet": FLEET, "workloads": [workload]})
    try:
        return flat(resolve_model(spec.workloads[0], catalog))
    except (InputError, ImpossibleError):
        return None


def flat(model: Model) -> dict[str, Any] | None:
    """A decoder of one kind of attention as the keys that flat shapes have."""
    blocks = [b for b in model.stack("decoder") if b.attention is not None]
    if not blocks or model.task != "text-generation":
        return None
    block = blocks[-1]
    attention = block.attention
    assert attention is not None
    dense = next((b.feed_forward for b in blocks if b.feed_forward is not None), None)
    moe = block.moe
    per_layer = max(b.num_params_per_layer for b in blocks)
    outer = {t.name: [t.out_features, t.in_features, t.count] for t in model.outer}
    layers = [[t.name, t.out_features, t.in_features, t.count, b.num_layers] for b in model.blocks for t in b.tensors]
    return {
        "id": model.id,
        "params_total": model.params_total,
        "largest_layer_params": per_layer,
        "hidden": model.hidden_size,
        "layers": model.num_layers,
        "heads": attention.num_heads,
        "kv_heads": attention.num_kv_heads,
        "head_dim": attention.head_dim,
        "latent": attention.kind == "latent",
        "vocab": model.vocab_size,
        "ffn": moe.intermediate_size if moe else (dense.intermediate_size if dense else None),
        "gated": moe.gated if moe else bool(dense and dense.gated),
        "experts": moe.num_experts if moe else 1,
        "top_k": moe.top_k if moe else 1,
        "tied": model.tied_embeddings,
        "max_context": model.max_context,
        "outer": outer,
        "tensors": layers,
    }


if __name__ == "__main__":
    main()

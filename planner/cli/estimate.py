"""`plan estimate`: memory, speed and cost of workloads as pinned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.models import OptionInfo

from planner.cli.console import answer, answer_json
from planner.cli.options import CalibrationFile, Json, catalog_in_use
from planner.errors import InputError

if TYPE_CHECKING:
    from planner.advise.types import AdvisedDocument
    from planner.catalog.load import Catalog
    from planner.spec.load import LoadedSpec
    from planner.spec.types import Spec

Text = str | None
Whole = int | None
Share = float | None
MOST_ADVISED = 64
"""Workloads of a spec up to which each gets advice unasked: it takes longer than the estimate."""


def share(flag: str, what: str) -> OptionInfo:
    """An option for a share of something, 0 to 1."""
    option: OptionInfo = typer.Option(flag, metavar="0..1", min=0.0, max=1.0, help=what)
    return option


def degree(flag: str, what: str) -> OptionInfo:
    """An option for a count of at least one."""
    option: OptionInfo = typer.Option(flag, metavar="N", min=1, help=what)
    return option


def estimate(
    ctx: typer.Context,
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC", help="A workload file; or describe one below.")] = None,
    json: Json = False,
    model: Annotated[Text, typer.Option(metavar="ID", help="Catalog id, alias, or path of a config.json.")] = None,
    mode: Annotated[Text, typer.Option(metavar="infer|train", help="Inference or training.")] = None,
    engine: Annotated[Text, typer.Option(metavar="NAME[@VERSION]", help="Engine profile.")] = None,
    batch: Annotated[Text, typer.Option(metavar="N|auto", help="Sequences in flight; in training per step.")] = None,
    sequence: Annotated[Whole, degree("--sequence", "Tokens of the whole context.")] = None,
    input_tokens: Annotated[Whole, degree("--input", "Tokens of the prompt.")] = None,
    output_tokens: Annotated[Whole, typer.Option("--output", metavar="N", min=0, help="Tokens of the answer.")] = None,
    precision: Annotated[Text, typer.Option(metavar="ID", help="Number format of the weights.")] = None,
    kv_precision: Annotated[Text, typer.Option(metavar="ID", help="Number format of the KV cache.")] = None,
    attention: Annotated[Text, typer.Option(metavar="KERNEL", help="flash, sdpa or eager.")] = None,
    method: Annotated[Text, typer.Option(metavar="NAME", help="full, lora or qlora (training).")] = None,
    lora_rank: Annotated[Whole, degree("--lora-rank", "Rank of the adapters (training).")] = None,
    optimizer: Annotated[Text, typer.Option(metavar="NAME", help="Optimizer (training).")] = None,
    checkpointing: Annotated[Text, typer.Option(metavar="KIND", help="none, selective or full (training).")] = None,
    sharding: Annotated[Text, typer.Option(metavar="KIND", help="none, zero1, zero2 or zero3 (training).")] = None,
    gpu: Annotated[Text, typer.Option(metavar="ID", help="GPU; left out = every GPU it fits.")] = None,
    node: Annotated[Text, typer.Option(metavar="ID", help="Node that holds the GPUs.")] = None,
    offer: Annotated[Text, typer.Option(metavar="ID", help="Offer that is rented.")] = None,
    replicas: Annotated[Whole, degree("--replicas", "Independent copies.")] = None,
    tensor_parallel: Annotated[Whole, degree("--tensor-parallel", "GPUs that share every layer.")] = None,
    pipeline_parallel: Annotated[Whole, degree("--pipeline-parallel", "Stages of layers.")] = None,
    data_parallel: Annotated[Whole, degree("--data-parallel", "Ranks with their own sequences.")] = None,
    expert_parallel: Annotated[Whole, degree("--expert-parallel", "Ways the experts are dealt out.")] = None,
    context_parallel: Annotated[Whole, degree("--context-parallel", "GPUs that share one sequence.")] = None,
    micro_batch: Annotated[Whole, degree("--micro-batch", "Sequences in one forward pass (training).")] = None,
    weights_cpu: Annotated[Share, share("--weights-cpu", "Weights in host memory.")] = None,
    weights_disk: Annotated[Share, share("--weights-disk", "Weights on disk.")] = None,
    kv_cpu: Annotated[Share, share("--kv-cpu", "KV cache in host memory.")] = None,
    optimizer_cpu: Annotated[Share, share("--optimizer-cpu", "Optimizer state in host memory (training).")] = None,
    params_cpu: Annotated[Share, share("--params-cpu", "Parameters in host memory (training).")] = None,
    confidence: Annotated[
        Share,
        typer.Option(
            "--confidence",
            metavar="Q",
            min=0.0,
            max=1.0,
            help="Fits only if the upper end of the interval that holds this share does; 0.9 = surer than the median.",
        ),
    ] = None,
    advice: Annotated[
        bool | None,
        typer.Option(
            "--advice/--no-advice",
            help=f"Largest batch, longest context, GPUs, changes that make it fit [default: up to {MOST_ADVISED} "
            "workloads].",
        ),
    ] = None,
    calibration: CalibrationFile = None,
) -> None:
    """Predict memory, speed and cost.

    Of the workloads of a spec as pinned, or of one workload from flags; nothing is optimised.
    """
    refuse_certainty(confidence)
    from planner.advise.advise import advised
    from planner.catalog.load import Catalog
    from planner.cli.flags import WORKLOAD_KEYS, spec_from_flags
    from planner.estimate.run import placed_or_failed

    flags = {name: ctx.params[name] for name in WORKLOAD_KEYS if ctx.params.get(name) is not None}
    if spec is not None and flags:
        raise InputError("give a spec or describe one workload with flags, not both; pins belong into the spec")
    if spec is None and not {"model", "mode"} <= flags.keys():
        raise InputError("name a spec, or at least --model and --mode; `plan estimate --help` shows all flags")
    catalog = catalog_in_use(ctx, Catalog.load(), calibration)
    loaded = None if spec is None else spec_from_file(spec, catalog, names_must_exist=not json)
    asked = spec_from_flags(flags) if loaded is None else loaded.spec
    if spec is None and not json and not flags.keys() & {"gpu", "node", "offer"}:
        show_everywhere(asked, catalog, confidence=confidence, advise=advice is not False)
        return
    unread = loaded.unread_models if loaded else None
    found = tuple(placed_or_failed(asked, catalog, unread_models=unread, confidence=confidence))
    wanted = len(found) <= MOST_ADVISED if advice is None else advice
    document = advised(found, asked, catalog, confidence=confidence, advise=wanted)
    if json:
        answer_json(document)
    else:
        show(document, headroom=asked.fleet.memory_headroom)


def refuse_certainty(confidence: float | None) -> None:
    """Raise InputError for a confidence at which nothing, or everything, fits."""
    if confidence is not None and not 0.0 < confidence < 1.0:
        raise InputError(f"--confidence {confidence:g}: give a share between 0 and 1, such as 0.9")


def spec_from_file(path: Path, catalog: Catalog, *, names_must_exist: bool) -> LoadedSpec:
    """The spec in a file. Raises InputError, unless told otherwise also for names and model files that do not exist."""
    from planner.names import refuse_unknown_names
    from planner.spec.load import load_spec

    loaded = load_spec(path, configs_must_exist=names_must_exist)
    if names_must_exist:
        refuse_unknown_names(loaded, catalog)
    return loaded


def show(document: AdvisedDocument, *, headroom: float, gpus: bool = True) -> None:
    """Print the estimates for people, each with its advice; `gpus`: also on which GPUs it fits.

    Raises InputError that names every workload without an estimate.
    """
    from planner.cli.advice import advice_text
    from planner.estimate.document import EstimateDocument, FailedEstimate
    from planner.report.text import estimate_table

    failed = [w for w in document.workloads if isinstance(w, FailedEstimate)]
    done = tuple(w for w in document.workloads if not isinstance(w, FailedEstimate))
    if done:
        asked_surely = document.fits_at_confidence is not None
        answer(estimate_table(EstimateDocument(workloads=done), headroom=headroom, asked_surely=asked_surely))
    for workload in done:
        if workload.advice is not None:
            title = workload.name if len(done) > 1 else None
            answer("\n" + advice_text(workload, title=title, document=document, gpus=gpus))
    if failed:
        raise InputError(*(f"{w.name}: {w.error}" for w in failed))


def show_everywhere(spec: Spec, catalog: Catalog, *, confidence: float | None, advise: bool) -> None:
    """Print the spec's one workload on the cheapest GPU it fits, then every GPU it fits."""
    from planner.advise.advise import advised
    from planner.cli.fits import fits_text
    from planner.estimate.request import resolve_workload
    from planner.estimate.run import cheapest_fit, everywhere

    workload = spec.workloads[0]
    found = everywhere(resolve_workload(workload, spec, catalog, confidence=confidence), spec, catalog)
    best = cheapest_fit(found)
    document = advised((best,), spec, catalog, confidence=confidence, advise=advise)
    show(document, headroom=spec.fleet.memory_headroom, gpus=False)
    answer("\n" + fits_text([p.estimate for p in found]))

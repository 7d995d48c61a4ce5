"""`plan explain`: each figure derived step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.cli.console import answer
from planner.cli.options import InLanguage, ReportLanguage, plan_file
from planner.errors import InputError, UnknownNameError

CLASSIC = "classic/estimates.yaml"
"""The workloads of the worked example, in the folder of the shipped examples."""


def explain(
    plan: Annotated[
        Path | None, typer.Argument(metavar="PLAN", help="A plan.json, or the folder that holds it.")
    ] = None,
    workload: Annotated[
        str | None, typer.Argument(metavar="WORKLOAD", help="Only this workload; left out = all of them.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown instead of plain text.")] = False,
    classic: Annotated[
        bool, typer.Option("--classic", help="Print the worked example of the README (Markdown) instead.")
    ] = False,
    html: Annotated[bool, typer.Option("--html", help="With --classic: print a page of HTML instead.")] = False,
    language: InLanguage = None,
) -> None:
    """Derive the figures of a plan.

    Step by step: formula, numbers put in, result, source; and why the runner-up lost.
    """
    if (html or language is not None) and not classic:
        raise InputError("--html and --language go with --classic")
    if classic:
        answer(classic_text(language or ReportLanguage.ENGLISH, as_page=html))
        return
    if plan is None:
        raise InputError("name a plan.json, or --classic for the worked example")
    from planner.explain import explain_plan
    from planner.plan.io import read_plan

    document = read_plan(plan_file(plan))
    names = [w.name for w in document.workloads]
    if workload is not None and workload not in names:
        raise UnknownNameError("workload", workload, names)
    answer(explain_plan(document, workload=workload, markdown=markdown))


def classic_text(language: str, *, as_page: bool) -> str:
    """The worked example with today's catalogs and formulas; its first workload is the one the rule is tried on."""
    from planner.catalog.load import Catalog
    from planner.estimate.run import estimate_spec
    from planner.explain.article import as_html, as_markdown
    from planner.explain.classic import cache_shape, classic_article
    from planner.report.language import speaking
    from planner.resources import data_folder
    from planner.spec.load import load_spec
    from planner.spec.types import InferWorkload
    from planner.units import BITS_PER_BYTE

    spec = load_spec(data_folder("plans") / CLASSIC).spec
    catalog = Catalog.load()
    first = spec.workloads[0]
    assert isinstance(first, InferWorkload)
    assert isinstance(first.model, str)
    assert isinstance(first.batch, int)
    assert first.sequence is not None
    shape = cache_shape(
        catalog.models.get(first.model),
        batch=first.batch,
        num_tokens=first.sequence.input,  # the one token of the answer is never read again, so never cached
        value_bytes=round(catalog.precision(first.precision[0]).bits) // BITS_PER_BYTE,
    )
    estimates = estimate_spec(spec, catalog)
    with speaking(language):
        article = classic_article(shape, estimates)
        return as_html(article) if as_page else as_markdown(article)

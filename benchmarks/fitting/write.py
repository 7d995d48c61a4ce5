"""Fitted values put back into the text of `catalogs/kernels.yaml`, number by number: comments and order stay."""

from __future__ import annotations

import re

import numpy as np

from benchmarks.fitting.parameters import Fit, Parameter, at_most_whole, matches_row, names_engine
from planner.estimate.types import Floats

UNMOVED = 0.005
"""Relative change that is no news."""
FITTED = "; moved by the fit to published records (benchmarks/fit_efficiency.py)"


def written(text: str, fit: Fit, x: Floats) -> str:
    """The catalog's text with every fitted field at its value, and its origin named where it moved."""
    for key, value in values_of(fit, x).items():
        text = replaced(text, key, value)
    return text


def values_of(fit: Fit, x: Floats) -> dict[tuple[str, str, str], float]:
    """(table, entry, field) -> value: an engine's field is the product of all factors on it."""
    values: dict[tuple[str, str, str], float] = {}
    for parameter, factor in zip(fit.parameters, np.exp(x), strict=True):
        for entry in entries_of(parameter, fit):
            key = (parameter.table, entry, parameter.field)
            values[key] = values.get(key, 1.0) * parameter.centre * float(factor)
    return {key: float(at_most_whole(key[2], np.array(value))) for key, value in values.items()}


def entries_of(parameter: Parameter, fit: Fit) -> list[str]:
    """The entries of the catalog that a parameter moves."""
    if parameter.table == "shared":
        return [""]
    if parameter.table in ("serving", "training"):
        return [name for name in getattr(fit.kernels, parameter.table) if names_engine(parameter, name)]
    rows = getattr(fit.kernels, parameter.table)
    assert any(matches_row(parameter, row) for row in rows), parameter.name
    return [" ".join((parameter.where["row"], parameter.where.get("width", "")))]


def replaced(text: str, key: tuple[str, str, str], value: float) -> str:
    """The text with one number changed or, where the entry leaves the field out, put in at its start."""
    start, end = span_of(text, key)
    entry = text[start:end]
    number = re.compile(rf"(\b{re.escape(key[2])}: )([0-9.e+-]+)")
    found = number.search(entry)
    if found is None:
        entry = entry.replace("{", "{" + f"{key[2]}: {tidy(value)}, ", 1)
    elif abs(float(found[2]) / value - 1.0) > UNMOVED:
        entry = entry[: found.start()] + found[1] + tidy(value) + entry[found.end() :]
        if key[0] in ("gemm", "attention") and FITTED not in entry:
            entry = re.sub(r'(source: "[^"]*)"', rf'\1{FITTED}"', entry, count=1)
    return text[:start] + entry + text[end:]


def span_of(text: str, key: tuple[str, str, str]) -> tuple[int, int]:
    """Where the entry stands in the text. Raises ValueError where it is not found."""
    table, entry, _ = key
    top = re.search(rf"^{table}:\n", text, re.MULTILINE)
    if top is None:
        raise ValueError(f"no table {table}")
    after = re.compile(r"^\S", re.MULTILINE).search(text, top.end())
    end = after.start() if after else len(text)
    if table == "shared":
        return top.end(), end
    if table in ("serving", "training"):
        head = re.compile(rf"^  {re.escape(entry)}:\n", re.MULTILINE).search(text, top.end(), end)
        if head is None:
            raise ValueError(f"{table} has no {entry}")
        following = re.compile(r"^  \S", re.MULTILINE).search(text, head.end(), end)
        return head.end(), following.start() if following else end
    for row in re.finditer(r"^  - \{.*?\}$", text[top.end() : end], re.MULTILINE | re.DOTALL):
        if row_key(row[0]) == entry.split():
            return top.end() + row.start(), top.end() + row.end()
    raise ValueError(f"{table} has no row {entry}")


def row_key(row: str) -> list[str]:
    """Architecture, GPU patterns and width of a row's text."""
    arch = re.search(r"arch: ([\w.-]+)", row)
    gpus = re.search(r'gpus: \[((?:"[^"]*"|[^"\]])*)\]', row)
    width = re.search(r'width: "(\d+)"', row)
    assert arch is not None
    patterns = [g.strip().strip('"') for g in gpus[1].split(",")] if gpus else []
    return [arch[1], *patterns, *([width[1]] if width else [])]


def tidy(value: float) -> str:
    """Three significant digits, in the catalog's manner."""
    return f"{value:.3g}" if 1e-3 <= value < 1e6 else f"{value:.2e}"

"""The classic worked example: the KV cache of one layer taken for that of the model, and what then fits where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.architecture.types import Attention, Model
from planner.errors import InputError
from planner.estimate.document import EstimateDocument, FailedEstimate, WorkloadEstimate
from planner.explain.article import Article, Part, as_markdown, formula, heading, sentence, table
from planner.report.bars import ordered_parts, part_label, rounded_parts
from planner.report.language import _, marked
from planner.report.numbers import (
    binary_size,
    factor,
    fixed,
    gib_units,
    one_unit,
    shown,
    told_apart,
    unit_text,
    whole,
)
from planner.report.phrases import translated
from planner.units import GIB, MB

SEPARATOR = " / "
"""Between the group and the label in the names of the example's workloads."""
NAMES = (
    marked("{model} in four formats"),
    marked("{model} answers and learns"),
    marked("{model} with twice the batch"),
    marked("{model} at twice the length with {kind} attention"),
    marked("{model} learning at twice the length with {kind} attention"),
    marked("batch {n}"),
    marked("{n} tokens"),
    marked("inference {format}"),
    marked("training"),
    marked("training with checkpoints"),
    marked("full training"),
    marked("{n} GB card {format}"),
)
"""Groups and labels of the shipped example."""
FITS = "fits"
"""The group whose table says what fits where; its first entry is the worked example itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheShape:
    """What the popular rule puts in, and the number of layers it leaves out."""

    num_layers: int
    num_heads: int
    head_dim: int
    batch: int
    num_tokens: int
    value_bytes: int

    @property
    def one_layer_bytes(self) -> int:
        """batch x heads x length x head_dim x 2 x bytes: keys and values of ONE layer."""
        return self.batch * self.num_heads * self.num_tokens * self.head_dim * 2 * self.value_bytes

    @property
    def all_layers_bytes(self) -> int:
        """Keys and values of every layer, which is what is kept."""
        return self.num_layers * self.one_layer_bytes


def cache_shape(model: Model, *, batch: int, num_tokens: int, value_bytes: int) -> CacheShape:
    """The shape of a model whose layers all keep keys and values of equal size.

    Raises InputError for a model whose layers differ, or that caches something else: the popular rule has no
    meaning for it.
    """
    kinds = {_plain(b.attention) for b in model.stack("decoder")}
    if len(kinds) != 1 or None in kinds:
        raise InputError(f"{model.id}: the popular rule needs equal layers with full attention, one KV head a head")
    num_heads, head_dim = next(k for k in kinds if k is not None)
    return CacheShape(
        num_layers=model.num_layers,
        num_heads=num_heads,
        head_dim=head_dim,
        batch=batch,
        num_tokens=num_tokens,
        value_bytes=value_bytes,
    )


def _plain(attention: Attention | None) -> tuple[int, int] | None:
    """Heads and their width for plain multi-head attention, else None."""
    if attention is None or attention.kind != "full" or attention.num_heads != attention.num_kv_heads:
        return None
    return attention.num_heads, attention.head_dim


def groups_of(document: EstimateDocument) -> Mapping[str, tuple[tuple[str, WorkloadEstimate], ...]]:
    """Labelled estimates by group, from workload names such as `fits / T4, fp16`, in file order.

    Raises InputError for a workload that could not be estimated or whose name has no group.
    """
    groups: dict[str, list[tuple[str, WorkloadEstimate]]] = {}
    for w in document.workloads:
        if isinstance(w, FailedEstimate):
            raise InputError(f"{w.name}: {w.error}")
        group, separator, label = w.name.partition(SEPARATOR)
        if not separator:
            raise InputError(f"{w.name}: the name needs a group, as in {FITS!r} + {SEPARATOR!r} + a label")
        groups.setdefault(group, []).append((label, w))
    return {name: tuple(rows) for name, rows in groups.items()}


def classic_page(shape: CacheShape, document: EstimateDocument) -> str:
    """The worked example as Markdown, in the language in use. Raises InputError as `classic_article`."""
    return as_markdown(classic_article(shape, document))


def classic_article(shape: CacheShape, document: EstimateDocument) -> Article:
    """The worked example, every number from the estimates given.

    The group `fits` comes first, its first entry being the example itself; each further group becomes a table that
    compares its entries with the first of them. Raises InputError as `groups_of` does, and when there is no `fits`.
    """
    groups = groups_of(document)
    if FITS not in groups:
        raise InputError(f"the example needs workloads named {FITS!r} + {SEPARATOR!r} + a label")
    _label, example = groups[FITS][0]
    parts = [*_cache_section(shape, example), *_memory_section(example), *_fits_section(groups[FITS])]
    for name, rows in groups.items():
        if name != FITS:
            parts += comparison(name[:1].upper() + name[1:], rows)
    title = _("Does {model} fit a 16 GB card?").format(model=shown(example.model))
    return Article(title=title, parts=tuple(parts))


def _cache_section(shape: CacheShape, example: WorkloadEstimate) -> list[Part]:
    one, every = shape.one_layer_bytes, shape.all_layers_bytes
    factors = (
        f"{whole(shape.batch)} × {whole(shape.num_heads)} × {whole(shape.num_tokens)} × {whole(shape.head_dim)} × "
        f"{whole(2)} × {whole(shape.value_bytes)}"
    )
    held = example.memory.per_gpu_bytes["kv_cache"]
    verdict = (
        _("The rule is {layers} times too small; the estimate below holds exactly that.")
        if held == every
        else _(
            "The rule is {layers} times too small; the estimate below holds {bytes} bytes, with what its engine "
            "allocates beside."
        )
    )
    once = _("{factors} = {bytes} bytes = {megabytes} MB ({size})")
    layers = _("That is the cache of **one layer**. The model has {layers} layers:")
    total = _("{bytes} × {layers} = {total} bytes = {size}")
    return [
        heading(_("The rule, and what it leaves out")),
        sentence(_("A popular rule for the KV cache multiplies batch × heads × length × head dimension × 2 × bytes:")),
        formula(
            once.format(factors=factors, bytes=whole(one), megabytes=fixed(one / MB), size=binary_size(one)),
        ),
        sentence(layers.format(layers=whole(shape.num_layers))),
        formula(
            total.format(bytes=whole(one), layers=whole(shape.num_layers), total=whole(every), size=binary_size(every))
        ),
        sentence(verdict.format(layers=whole(shape.num_layers), bytes=whole(held))),
    ]


def _memory_section(example: WorkloadEstimate) -> list[Part]:
    memory = example.memory
    parts = ordered_parts(memory.per_gpu_bytes)
    *shares, peak = gib_cells(parts, memory.device_peak_bytes, 3)
    rows = [[part_label(key), whole(n), cell] for (key, n), cell in zip(parts, shares, strict=True)]
    rows.append([_("**Peak on the device**"), whole(memory.device_peak_bytes), peak])
    counted = _("The name rounds the size; counted tensor by tensor the model has **{params}** parameters.")
    return [
        heading(_("What else it takes")),
        sentence(counted.format(params=whole(example.params_total))),
        table([_("part"), _("bytes"), _("GiB")], rows),
    ]


def gib_cells(parts: Sequence[tuple[str, int]], total: int, digits: int) -> list[str]:
    """(key, bytes) parts and their total in GiB.

    The shown parts add up to the shown total, and a part prints as 0 only where there is nothing.

    >>> gib_cells([("weights", 1073741824), ("logits", 192000), ("optimizer", 0)], 1073933824, 2)
    ['1.00', '<0.01', '0', '1.00']
    """
    units = gib_units(total, digits)
    cells = [
        unit_text(u, digits) if u else f"<{one_unit(digits)}" if n else whole(0)
        for (_key, n), u in zip(parts, rounded_parts(parts, units, digits), strict=True)
    ]
    return [*cells, unit_text(units, digits)]


def _fits_section(rows: Sequence[tuple[str, WorkloadEstimate]]) -> list[Part]:
    cells = []
    no = _("**no**")
    for label, w in rows:
        needs, has = told_apart(w.memory.device_peak_bytes / GIB, w.memory.usable_bytes / GIB, digits=2)
        fits = _("yes") if w.fits else no
        cells.append([named(label), w.gpu_name, str(w.config.get("precision", "")), needs, has, fits])
    return [
        heading(_("What it fits")),
        sentence(_("A card is compared by the memory its driver reports, not by the number on its box.")),
        table(["", _("card"), _("precision"), _("needs GiB"), _("has GiB"), _("fits")], cells),
    ]


def comparison(title: str, rows: Sequence[tuple[str, WorkloadEstimate]]) -> list[Part]:
    """A table of estimates by part of memory, in GiB, the last column the peak against the first row's."""
    keys = _parts_in(w for _label, w in rows)
    base = rows[0][1].memory.device_peak_bytes
    cells = []
    for label, w in rows:
        peak = w.memory.device_peak_bytes
        parts = [(key, w.memory.per_gpu_bytes.get(key, 0)) for key in keys]
        cells.append([named(label), *gib_cells(parts, peak, 2), factor(peak / base)])
    head = ["", *(part_label(key) for key in keys), _("peak, GiB"), _("against the first")]
    return [heading(named(title)), table(head, cells)]


def named(text: str) -> str:
    """A group or label of the example in the language in use; one that is not known stays as it is."""
    found = translated(text, NAMES)
    return text if found is None else found


def _parts_in(estimates: Iterable[WorkloadEstimate]) -> tuple[str, ...]:
    """Parts that any of the estimates holds, in stacking order."""
    largest: dict[str, int] = {}
    for w in estimates:
        for key, n in w.memory.per_gpu_bytes.items():
            largest[key] = max(largest.get(key, 0), n)
    return tuple(key for key, _bytes in ordered_parts(largest))

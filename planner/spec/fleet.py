"""What there is to choose from and what it may cost: fleet, limits, site, horizon, report, periods."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from planner.spec.base import (
    Amount,
    AmountOrZero,
    CatalogId,
    Count,
    Glob,
    Months,
    Name,
    Problem,
    Procurement,
    SpecModel,
    Text,
    as_list,
    no_repeats,
    refuse,
)

ALL_PROCUREMENT: tuple[Procurement, ...] = ("on_demand", "reserved_1y", "reserved_3y", "spot", "buy")
Globs = Annotated[
    tuple[Glob, ...],
    BeforeValidator(as_list, json_schema_input_type=Glob | list[Glob]),
    Field(strict=False, max_length=1000),
]


class OwnedNode(SpecModel):
    """Nodes that are already there."""

    node: CatalogId
    """Id of the node in catalogs/nodes."""
    count: Count = 1
    """How many of them."""


class Limits(SpecModel):
    """What the whole fleet may not exceed; a key left out is no limit."""

    usd_per_hour: Amount | None = None
    """Spend per hour in USD: rent, energy and the share of purchases."""
    capex_usd: AmountOrZero | None = None
    """Money for purchases, in USD, over the whole horizon."""
    capex_usd_per_period: AmountOrZero | None = None
    """Money for purchases, in USD, ordered within any one of the `periods`."""
    power_kw: Amount | None = None
    """Power drawn by all nodes, in kW, before PUE."""
    rack_units: Amount | None = None
    """Rack units taken by owned and bought nodes."""
    gpus: Count | None = None
    """GPUs in the fleet."""
    nodes: Count | None = None
    """Nodes in the fleet."""


class Fleet(SpecModel):
    """What the optimiser may choose from, and within what limits."""

    gpus: Globs = ()
    """GPUs allowed, as catalog ids or globs such as `h100-*`; left out = the whole catalog."""
    exclude_gpus: Globs = ()
    """GPUs not allowed, as catalog ids or globs; wins over `gpus`."""
    procurement: Annotated[
        tuple[Procurement, ...], Field(strict=False, min_length=1, max_length=5), AfterValidator(no_repeats)
    ] = ALL_PROCUREMENT
    """Ways to get hardware: on_demand, reserved_1y, reserved_3y, spot, buy."""
    providers: Annotated[tuple[CatalogId, ...], Field(strict=False, max_length=1000)] = ()
    """Cloud providers allowed; left out = all."""
    regions: Annotated[tuple[CatalogId, ...], Field(strict=False, max_length=1000)] = ()
    """Cloud regions allowed; left out = all."""
    owned: Annotated[tuple[OwnedNode, ...], Field(strict=False, max_length=1000)] = ()
    """Nodes already there: they cost energy only."""
    limits: Limits = Limits()
    """What the fleet may not exceed."""
    lead_months: Annotated[int, Field(ge=0, le=60)] = 0
    """Months from the order of a bought node to its delivery; counts where there are `periods`."""
    spare_nodes: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Nodes of each kind in use that stand by for failures."""
    share_gpus: bool = True
    """Several workloads may sit on one node, and on one GPU (MIG) where that is safe."""
    memory_headroom: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the usable device memory that must stay free."""
    planning_quantile: Annotated[float, Field(ge=0.5, le=0.99)] = 0.5
    """Plan on this quantile of the predictions: 0.5 is the median, 0.8 and 0.9 are safer."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        refuse(self._problems())
        return self

    def _problems(self) -> list[Problem]:
        found: list[Problem] = []
        excluded = [g.casefold() for g in self.exclude_gpus]
        if self.gpus and all(any(fnmatchcase(g.casefold(), e) for e in excluded) for g in self.gpus):
            found.append((("exclude_gpus",), f"excludes everything that `gpus` allows ({', '.join(self.gpus)})"))
        if self.limits.nodes is not None and self.spare_nodes >= self.limits.nodes:
            found.append(
                (
                    ("spare_nodes",),
                    f"{self.spare_nodes} spare nodes leave none to work within limits.nodes {self.limits.nodes}",
                )
            )
        if self.procurement == ("buy",) and self.limits.capex_usd == 0 and not self.owned:
            found.append((("limits", "capex_usd"), "0 forbids buying, the only procurement allowed; allow renting too"))
        return found


class Site(SpecModel):
    """Where owned and bought nodes stand: electricity, overhead and carbon."""

    region: CatalogId = "us"
    """Region of catalogs/energy that gives the figures left out below."""
    electricity_usd_per_kwh: Annotated[float, Field(ge=0, le=100)] | None = None
    """Price of electricity in USD per kWh."""
    pue: Annotated[float, Field(ge=1, le=5)] | None = None
    """Power drawn by the building per power drawn by the machines."""
    carbon_g_per_kwh: Annotated[float, Field(ge=0, le=5000)] | None = None
    """Grams of CO2 per kWh."""
    colocation_usd_per_kw_month: Annotated[float, Field(ge=0, le=100_000)] | None = None
    """Rent of a place in a data centre, in USD per kW and month."""


class Horizon(SpecModel):
    """The time that costs are counted over."""

    months: Months = 36
    """Months from the start; purchases are paid inside them."""


class Period(SpecModel):
    """A stretch of the horizon with its own demand; the last one lasts to the horizon's end."""

    months: Months
    """Length in months."""
    demand: Annotated[dict[Name, Annotated[float, Field(ge=0, le=1e6)]], Field(max_length=10_000)]
    """Factor on the targets of each workload named (of a training: on its tokens or steps, all of which are to be done
    within each period); 0 = does not run in the period. Workloads left out keep factor 1."""


class Rate(SpecModel):
    """An exchange rate, as the reports say it."""

    per_usd: Annotated[float, Field(gt=0, le=1e9)]
    """Units of the currency for one USD."""
    as_of: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """Date of the rate, `YYYY-MM-DD`."""
    source: Text
    """Who published it."""


class Report(SpecModel):
    """What stands on the cover of the reports."""

    title: Text | None = None
    """Title; left out = made from the spec's name."""
    organisation: Text | None = None
    """Who it is for."""
    author: Text | None = None
    """Who made it."""
    language: Literal["en", "fa", "de"] = "en"
    """Language of the reports: English, Persian or German."""
    digits: Literal["latin", "native"] = "latin"
    """Digits of the reports' numbers: 0 to 9, or the language's own (Persian)."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "USD"
    """Currency of the reports, as in ISO 4217; other than USD it needs `rate`."""
    rate: Rate | None = None
    """What one USD is in that currency."""
    logo: Text | None = None
    """Image file (SVG or PNG) inside the spec's folder."""
    accent: Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$")] = "#0B5FFF"
    """Colour of headings and bars, as `#RRGGBB`."""

    @model_validator(mode="after")
    def _a_currency_comes_with_its_rate(self) -> Self:
        if self.currency != "USD" and self.rate is None:
            way_out = "give the one to count with: rate: {per_usd: ..., as_of: YYYY-MM-DD, source: ...}"
            refuse([(("currency",), f"{self.currency} needs a rate; {way_out}")])
        if self.currency == "USD" and self.rate is not None:
            refuse([(("rate",), "says what one USD is in another currency; name that one with currency")])
        return self

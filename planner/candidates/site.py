"""Electricity, carbon and overhead of the place where nodes of our own stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from planner.errors import InputError
from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH

if TYPE_CHECKING:
    from planner.catalog.load import Catalog
    from planner.spec.types import Spec

FALLBACK_PUE = "pue-global-survey"
"""Entry of catalogs/energy.yaml that stands in where a region has no figure for the overhead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteFacts:
    """What the place costs and emits."""

    region: str
    electricity_usd_per_kwh: float | None
    electricity_source: str
    pue: float
    carbon_g_per_kwh: float | None
    colocation_usd_per_kw_month: float
    as_of: str
    confidence: str
    warnings: tuple[str, ...]

    def energy_usd_per_hour(self, it_power_kw: float) -> float:
        """Electricity of a node at a power, overhead included.

        Raises InputError where the region has no price of electricity.
        """
        if self.electricity_usd_per_kwh is None:
            raise InputError(
                f"site.region {self.region}: the catalog has no price of electricity there; "
                "give site.electricity_usd_per_kwh, or leave `buy` and `owned` out of the fleet"
            )
        return it_power_kw * self.pue * self.electricity_usd_per_kwh

    def colocation_usd_per_hour(self, it_power_kw: float) -> float:
        """Rent of the place, where the spec gives one."""
        return it_power_kw * self.colocation_usd_per_kw_month / HOURS_PER_MONTH

    def kg_co2_per_hour(self, it_power_kw: float) -> float | None:
        """Carbon of a node at a power, overhead included; None where the region has no figure."""
        if self.carbon_g_per_kwh is None:
            return None
        return it_power_kw * self.pue * self.carbon_g_per_kwh / GRAMS_PER_KG


def site_facts(spec: Spec, catalog: Catalog) -> SiteFacts:
    """The spec's own figures first, then the region's. Raises UnknownNameError for an unknown region."""
    site = spec.site
    region = catalog.region(site.region)
    warnings = []
    pue = site.pue or region.pue
    if pue is None:
        pue = catalog.region(FALLBACK_PUE).pue
        assert pue is not None, "the reference entry has the figure"
        warnings.append(f"site.region {region.id}: no PUE in the catalog; {pue:g} of {FALLBACK_PUE} stands in")
    electricity = site.electricity_usd_per_kwh
    own = electricity is not None
    carbon = site.carbon_g_per_kwh if site.carbon_g_per_kwh is not None else region.carbon_g_per_kwh
    return SiteFacts(
        region=region.id,
        electricity_usd_per_kwh=electricity if own else region.electricity_usd_per_kwh,
        electricity_source="the spec" if own else f"{region.id}: {region.electricity_basis or region.source}",
        pue=pue,
        carbon_g_per_kwh=carbon,
        colocation_usd_per_kw_month=site.colocation_usd_per_kw_month or 0.0,
        as_of=region.as_of,
        confidence="high" if own else region.confidence,
        warnings=tuple(warnings),
    )

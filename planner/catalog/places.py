"""Where a rented machine stands, and what its electricity is like there."""

from __future__ import annotations

from dataclasses import dataclass

from planner.catalog.load import Catalog
from planner.catalog.types import EnergyRegion, Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The surroundings of machines at one provider's region. Rents include the electricity: it is never charged."""

    region: EnergyRegion
    overhead: EnergyRegion
    """The entry that gives the PUE."""

    @property
    def pue(self) -> float | None:
        """Energy of the building over that of the machines."""
        return self.overhead.pue

    @property
    def carbon_g_per_kwh(self) -> float | None:
        """Grams of CO2 equivalent per kWh."""
        return self.region.carbon_g_per_kwh


def place_of_offer(catalog: Catalog, offer: Offer) -> Place | None:
    """Where the offer's machines stand; None where its region names no place (worldwide price lists)."""
    found = catalog.provider_regions.get((offer.provider.casefold(), offer.region.casefold()))
    if found is None:
        return None
    return Place(region=catalog.region(found.energy), overhead=catalog.region(found.overhead))

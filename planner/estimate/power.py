"""Power, energy and carbon of a configuration, and what the electricity costs.

A GPU draws the share of its TDP that the kind of work asks for: products near all of it, reading memory less, waiting
little. The shares are named assumptions in `catalogs/kernels.yaml` (`power:`). To the GPUs comes their part of the
host, and the building multiplies all by its PUE.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from planner.estimate.speed.kernels import PowerShares
from planner.estimate.types import Floats, Ints
from planner.units import GRAMS_PER_KG


def tdp_share(seconds: Mapping[str, Floats], power: PowerShares) -> Floats:
    """Mean share of its TDP that a GPU draws, from the seconds of a step by cause.

    A step without any time counts as idle.
    """
    by_cause = {str(cause): share for cause, share in power.by_cause.items()}
    drawn: Floats = np.zeros(1)
    total: Floats = np.zeros(1)
    for cause, column in seconds.items():
        drawn = drawn + column * by_cause[cause]
        total = total + column
    result: Floats = np.where(total > 0, drawn / np.where(total > 0, total, 1.0), power.idle)
    return result


def host_share_kw(*, node_power_kw: Floats, tdp_kw: Floats, node_gpus: Ints, load: float) -> Floats:
    """kW of the host (CPUs, memory, fans, NICs) that belong to one of its GPUs.

    A node's maximum draw less its GPUs' is the host's; it runs at `load` of that. Zero where a node's figure is
    smaller than its GPUs' or unknown.
    """
    result: Floats = np.maximum(0.0, node_power_kw / node_gpus - tdp_kw) * load
    return result


def it_power_kw(
    *,
    gpus: Ints | Floats,
    tdp_kw: Floats,
    tdp_share: Floats,
    node_power_kw: Floats,
    node_gpus: Ints,
    power: PowerShares,
) -> Floats:
    """kW at the socket of `gpus` GPUs under load with their part of the hosts, before PUE."""
    host = host_share_kw(node_power_kw=node_power_kw, tdp_kw=tdp_kw, node_gpus=node_gpus, load=power.host_load)
    result: Floats = gpus * (tdp_kw * tdp_share + host)
    return result


def facility_kw(*, it_kw: Floats, pue: float) -> Floats:
    """kW that the meter of the building sees.

    >>> float(facility_kw(it_kw=np.array([10.0]), pue=1.2)[0])
    12.0
    """
    return it_kw * pue


def electricity_usd(*, it_kw: Floats, pue: float, hours: float, usd_per_kwh: float) -> Floats:
    """USD of electricity over `hours`.

    >>> float(electricity_usd(it_kw=np.array([10.0]), pue=1.2, hours=100.0, usd_per_kwh=0.1)[0])
    120.0
    """
    return facility_kw(it_kw=it_kw, pue=pue) * hours * usd_per_kwh


def carbon_kg(*, it_kw: Floats, pue: float, hours: float, grams_per_kwh: float) -> Floats:
    """kg of CO2 equivalent over `hours` (operation alone, not manufacture).

    >>> float(carbon_kg(it_kw=np.array([10.0]), pue=1.2, hours=100.0, grams_per_kwh=300.0)[0])
    360.0
    """
    return facility_kw(it_kw=it_kw, pue=pue) * hours * grams_per_kwh / GRAMS_PER_KG

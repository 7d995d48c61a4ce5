"""GPUs, money, power and carbon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from planner.estimate.derive.steps import exact, product, scalar, step
from planner.estimate.document import DerivationStep
from planner.estimate.power import host_share_kw, tdp_share
from planner.estimate.speed.kernels import shipped_kernels
from planner.estimate.types import Floats, Hardware, InferWays, TrainWays
from planner.units import GRAMS_PER_KG, HOURS_PER_MONTH, MEGA, SECONDS_PER_HOUR


class Priced(Protocol):
    """What is known of the money, power and carbon of all replicas."""

    @property
    def usd_per_hour(self) -> float | None: ...
    @property
    def basis(self) -> str | None: ...
    @property
    def power_kw(self) -> float | None: ...
    @property
    def node_power_kw(self) -> float | None: ...
    @property
    def kg_co2_per_month(self) -> float | None: ...
    @property
    def pue(self) -> float | None: ...
    @property
    def grams_per_kwh(self) -> float | None: ...
    @property
    def energy_region(self) -> str | None: ...
    @property
    def day_share(self) -> float: ...


def gpus_step(ways: InferWays | TrainWays, replicas: int) -> DerivationStep:
    """GPUs of all replicas."""
    splits = (ways.tensor_parallel, ways.pipeline_parallel, ways.data_parallel, ways.context_parallel)
    return step(
        "replicas",
        "replicas x tensor x pipeline x data x context parallel = GPUs",
        f"{replicas} x " + " x ".join(exact(s) for s in splits),
        f"{exact(scalar(ways.gpus) * replicas)} GPUs",
        "the configuration; as many replicas as the targets need, or as pinned",
    )


def money_steps(
    money: Priced, hw: Hardware, shares: Mapping[str, Floats], *, gpus: float, rate: float | None, hours: float | None
) -> Iterator[DerivationStep]:
    """`rate`: output tokens per second of all replicas; `hours` of the horizon or until the target is trained."""
    usd = money.usd_per_hour
    if usd is not None:
        yield step(
            "cost.usd_per_hour",
            "USD per GPU-hour x GPUs",
            f"{exact(usd / gpus)} x {exact(gpus)}",
            f"{exact(usd)} USD/h",
            money.basis or "catalog",
        )
        if rate:
            yield step(
                "cost.usd_per_million_output_tokens",
                "USD/h / (tokens/s x 3,600) x 1,000,000",
                f"{exact(usd)} / ({exact(rate)} x {SECONDS_PER_HOUR:,}) x {MEGA:,}",
                f"{exact(usd / (rate * SECONDS_PER_HOUR) * MEGA)} USD",
                "at full load",
            )
        if hours is not None:
            yield step(
                "cost.usd_total",
                "USD/h x hours of the horizon, or to the token target",
                product(usd, hours),
                f"{exact(usd * hours)} USD",
                "horizon.months x 730 h; training: tokens / (tokens/s x 3,600)",
            )
    if money.power_kw is not None:
        yield power_step(money, hw, shares, gpus=gpus)
        if money.kg_co2_per_month is not None and money.grams_per_kwh is not None:
            pue = "" if money.pue is None else f" x {exact(money.pue)} [PUE]"
            yield step(
                "kg_co2_per_month",
                "kW x PUE x 730 h x g/kWh / 1,000" if pue else "kW x 730 h x g/kWh (PUE included) / 1,000",
                f"{exact(money.power_kw)}{pue} x {HOURS_PER_MONTH} x {exact(money.grams_per_kwh)} / {GRAMS_PER_KG:,}",
                f"{exact(money.kg_co2_per_month)} kg",
                "the spec's site, else its region in catalogs/energy.yaml"
                if money.energy_region is None
                else f"{money.energy_region} in catalogs/energy.yaml, where the priced machines stand",
            )


def power_step(money: Priced, hw: Hardware, shares: Mapping[str, Floats], *, gpus: float) -> DerivationStep:
    """Under this load, or the nodes' own maximum where the plan counts with that."""
    result = f"{exact(money.power_kw or 0.0)} kW"
    if money.node_power_kw is not None:
        return step(
            "power_kw",
            "GPUs x kW of a node / GPUs of a node",
            f"{exact(gpus)} x {exact(money.node_power_kw)} / {exact(hw.node_gpus)}",
            result,
            "maximum draw of the node, by GPU",
        )
    facts = shipped_kernels().power
    host = host_share_kw(node_power_kw=hw.node_power_kw, tdp_kw=hw.tdp_kw, node_gpus=hw.node_gpus, load=facts.host_load)
    return step(
        "power_kw",
        "GPUs x (TDP x share drawn under this mix of causes + part of the host)",
        f"{exact(gpus)} x ({exact(hw.tdp_kw)} x {exact(tdp_share(shares, facts))} + {exact(host)})",
        result,
        facts.source,
    )

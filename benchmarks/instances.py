"""Problems for the optimiser, drawn from a seed: prices in cents an hour, power in watts, memory in GB."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from planner.solve.problem import Problem

Raw = dict[str, Any]

GPU_NODES = (1, 2, 4, 8, 8, 8)
"""GPUs of a node; most offers are nodes of eight."""
GPU_CENTS = (45, 70, 80, 101, 120, 150, 190, 210, 240, 289, 310, 367, 420, 480, 530, 610, 720, 830, 990)
"""Prices of one GPU for an hour, from small to large."""


GPU_GB = (16, 24, 48, 80, 96, 141)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One kind of problem, how it is drawn and how long it may take on two cores."""

    name: str
    limit_s: float
    draw: Callable[[int], Problem]
    is_feasible: bool = True


def node_types(random: Random, count: int, *, with_ram: bool = True) -> dict[str, Raw]:
    """Node types whose speed grows a little slower than their price, with host memory and some with stock."""
    found: dict[str, Raw] = {}
    for n in range(count):
        gpus = random.choice(GPU_NODES)
        cents = GPU_CENTS[n * len(GPU_CENTS) // count]
        price = round(cents * gpus * random.uniform(0.85, 1.15))
        node: Raw = {"gpus": gpus, "cost": price, "power": round(gpus * random.uniform(250, 1300))}
        if with_ram:
            node["ram"] = gpus * random.choice((32, 64, 128, 256))
        if random.random() < 0.3:
            node["stock"] = random.randint(2, 40)
        found[f"n{n:02d}-{gpus}x"] = node
    return found


def speed(node: Raw, name: str, random: Random) -> float:
    """Relative speed of one GPU of a node type for one workload."""
    return float((node["cost"] / node["gpus"]) ** 0.9 * random.uniform(0.6, 1.6)) * (1 + 0.01 * len(name))


def fleet(
    seed: int, *, workloads: int, columns: int, types: int, limits: bool = True, steps: tuple[int, ...] = (64,)
) -> Problem:
    """Workloads of mode `one`: each runs in several splits, precisions and offload `steps` (GB) on a node type."""
    random = Random(seed)
    nodes = node_types(random, types)
    per_workload = max(1, round(columns / workloads))
    listed = []
    for w in range(workloads):
        demand = random.lognormvariate(1.2, 1.1)
        speeds = {t: speed(node, t, random) for t, node in nodes.items()}
        ways: list[Raw] = []
        while len(ways) < per_workload:
            t = random.choice(tuple(nodes))
            node = nodes[t]
            split = random.choice([g for g in (1, 2, 4, 8) if g <= node["gpus"]])
            precision = random.choice((1.0, 1.0, 1.7, 2.4))
            offload = random.choice((0, 0, 0, 1))
            rate = speeds[t] * split**0.93 * precision * (0.75**offload) / 100
            ram = min(node["ram"], split * 8 + offload * random.choice(steps))
            replicas = max(1, math.ceil(demand / rate))
            ways.append({"id": f"c{len(ways):03d}", "node": t, "gpus": split, "ram": ram, "replicas": replicas})
        listed.append({"id": f"w{w:03d}", "mode": "one", "columns": ways})
    raw: Raw = {"name": f"fleet-{workloads}", "node_types": nodes, "workloads": listed}
    if not limits:
        for node in nodes.values():
            node.pop("stock", None)
    return Problem.model_validate(raw)


def serving(seed: int, *, classes: int = 225, types: int = 30, mode: str = "fluid") -> Problem:
    """Request classes over a grid of prompt and answer lengths, on GPU types of one GPU a node."""
    random = Random(seed)
    nodes: dict[str, Raw] = {}
    for n in range(types):
        cents = round(45 * 1.12**n * random.uniform(0.8, 1.2))
        nodes[f"g{n:02d}"] = {"gpus": 1, "cost": cents, "power": random.randint(70, 1000)}
        if random.random() < 0.4:
            nodes[f"g{n:02d}"]["stock"] = random.randint(1, 12)
    side = math.isqrt(classes)
    shares = [random.lognormvariate(0, 1) for _ in range(classes)]
    listed = []
    for c in range(classes):
        length = 1 + (c % side) + 2 * (c // side)
        ways = []
        for t, node in nodes.items():
            if node["cost"] < 90 and c // side > side * 2 // 3:
                continue
            rate = round(node["cost"] ** 0.95 / length * random.uniform(0.5, 1.5), 2)
            ways.append({"id": t, "node": t, "rate": max(rate, 0.01)})
        demand = round(400 * shares[c] / sum(shares), 3)
        listed.append({"id": f"r{c:03d}", "mode": mode, "demand": demand, "columns": ways})
    return Problem.model_validate({"name": f"serving-{mode}", "node_types": nodes, "workloads": listed})


def lengths(seed: int, *, classes: int = 225, types: int = 30, load: float = 400.0) -> Problem:
    """Request classes by prompt and answer length; a GPU type serves them by its arithmetic, bandwidth and memory."""
    random = Random(seed)
    side = math.isqrt(classes)
    gpus: dict[str, tuple[float, float, int]] = {}
    nodes: dict[str, Raw] = {}
    for n in range(types):
        tflops, gb_per_s, gb = 10 ** random.uniform(1.5, 3.3), 10 ** random.uniform(2.3, 3.9), random.choice(GPU_GB)
        worth = (tflops / 50) ** 0.35 * (gb_per_s / 500) ** 0.45 * (gb / 24) ** 0.2
        gpus[f"g{n:02d}"] = tflops, gb_per_s, gb
        cents = round(30 * worth * random.uniform(0.7, 1.4))
        nodes[f"g{n:02d}"] = {"gpus": 1, "cost": cents, "power": random.randint(70, 1000)}
        if random.random() < 0.4:
            nodes[f"g{n:02d}"]["stock"] = random.randint(1, 12)
    shares = [random.lognormvariate(0, 1) for _ in range(classes)]
    listed = []
    for c in range(classes):
        prompt, answer = 25 * 1.45 ** (c % side), 10 * 1.4 ** (c // side)
        ways = []
        for t, (tflops, gb_per_s, gb) in gpus.items():
            batch = min(256.0, (0.9 * gb - 15) * 6000 / (prompt + answer))
            if batch < 1:
                continue
            reading = (16 + (prompt + answer / 2) * 1e-4 * batch) / gb_per_s
            request_s = prompt * 16e-3 / tflops + answer * reading / batch
            rate = round(random.uniform(0.9, 1.1) / request_s, 4)
            ways.append({"id": t, "node": t, "rate": max(rate, 0.0001)})
        demand = round(load * shares[c] / sum(shares), 3)
        listed.append({"id": f"r{c:03d}", "mode": "fluid", "demand": demand, "columns": ways})
    return Problem.model_validate({"name": "serving-lengths", "node_types": nodes, "workloads": listed})


def purchase(seed: int, *, periods: int = 8, types: int = 3, services: int = 4, mode: str = "fluid") -> Problem:
    """Growing demand over periods; nodes are rented, reserved for a term or bought with a lead time."""
    random = Random(seed)
    nodes: dict[str, Raw] = {}
    for n in range(types):
        gpus = random.choice((4, 8))
        rent = round(GPU_CENTS[3 + n * 5 % 16] * gpus * random.uniform(0.9, 1.1)) * 10
        nodes[f"n{n}"] = {
            "gpus": gpus,
            "cost": rent,
            "cost_max_nodes": random.randint(4, 20),
            "power": gpus * random.randint(300, 1000),
            "owned": random.randint(0, 2),
            "opex": rent // 12,
            "reserve": {"cost": rent * 7 // 10, "term": random.choice((2, 3, 4))},
            "buy": {"cost": rent * 3, "lead": random.choice((0, 1, 2)), "max_per_period": random.randint(2, 6)},
        }
    listed = []
    for s in range(services):
        start, growth = random.uniform(5, 30), random.uniform(1.0, 1.35)
        demand = [round(start * growth**p, 2) for p in range(periods)]
        ways = []
        for t, node in nodes.items():
            gpus = 1 if mode == "fluid" else random.choice((1, 2, 4))
            rate = round(gpus * (node["cost"] / node["gpus"] / 1000) ** 0.9 * random.uniform(0.7, 1.4), 3)
            ways.append({"id": t, "node": t, "gpus": gpus, "rate": rate})
        listed.append({"id": f"s{s}", "mode": mode, "demand": demand, "columns": ways})
    raw = {"name": f"purchase-{mode}", "periods": periods, "node_types": nodes, "workloads": listed}
    return Problem.model_validate(raw)


def clash(seed: int, *, workloads: int = 30) -> Problem:
    """A fleet whose limits on money and power cannot both be kept, beside others that bind nothing."""
    p = fleet(seed, workloads=workloads, columns=workloads * 75, types=12, limits=False)
    from planner.solve.solver import solve

    cheapest = solve(p)
    frugal = solve(p.model_copy(update={"objective": ("power", "cost")}))
    limits = {
        "cost": cheapest.objective["cost"] + (frugal.objective["cost"] - cheapest.objective["cost"]) // 20,
        "power": frugal.objective["power"] + (cheapest.objective["power"] - frugal.objective["power"]) // 20,
        "nodes": cheapest.objective["nodes"] * 10,
        "gpus": cheapest.objective["gpus"] * 10,
    }
    return Problem.model_validate({**p.model_dump(by_alias=True), "limits": limits})


FAMILIES: Mapping[str, Family] = {
    f.name: f
    for f in (
        Family(name="fleet-30", limit_s=1.0, draw=lambda s: fleet(s, workloads=30, columns=2_250, types=12)),
        Family(name="fleet-120", limit_s=3.0, draw=lambda s: fleet(s, workloads=120, columns=9_000, types=15)),
        Family(name="fleet-300", limit_s=15.0, draw=lambda s: fleet(s, workloads=300, columns=52_000, types=19)),
        Family(
            name="fleet-sizes",
            limit_s=3.0,
            draw=lambda s: fleet(s, workloads=30, columns=2_250, types=12, steps=tuple(range(20, 120, 7))),
        ),
        Family(name="serving-lengths", limit_s=1.0, draw=lengths),
        Family(name="serving-fluid", limit_s=1.0, draw=lambda s: serving(s)),
        Family(name="serving-replicas", limit_s=1.0, draw=lambda s: serving(s, mode="replicas")),
        Family(name="purchase-fluid", limit_s=3.0, draw=lambda s: purchase(s)),
        Family(name="purchase-replicas", limit_s=3.0, draw=lambda s: purchase(s, mode="replicas")),
        Family(name="purchase-one", limit_s=3.0, draw=lambda s: purchase(s, mode="one")),
        Family(name="clash", limit_s=3.0, draw=clash, is_feasible=False),
    )
}

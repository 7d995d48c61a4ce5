"""How each figure came about: the formula, the numbers put in, the result and the source.

The numbers are an expression that a calculator takes, remarks in [brackets].
"""

from __future__ import annotations

from planner.estimate.derive.arrivals import arrival_steps
from planner.estimate.derive.memory_infer import infer_memory_steps
from planner.estimate.derive.memory_train import train_memory_steps
from planner.estimate.derive.money import Priced, gpus_step, money_steps
from planner.estimate.derive.speed import infer_speed_steps, train_speed_steps
from planner.estimate.derive.steps import scalar
from planner.estimate.document import DerivationStep, MemoryDocument
from planner.estimate.speed.open_loop import OpenLoop
from planner.estimate.types import Hardware, InferJob, InferSpeed, InferWays, TrainJob, TrainSpeed, TrainWays


def infer_derivation(
    job: InferJob,
    ways: InferWays,
    hw: Hardware,
    memory: MemoryDocument,
    speed: InferSpeed,
    money: Priced,
    *,
    replicas: int,
    output_rate: float | None,
    hours: float | None,
    arrivals: OpenLoop | None = None,
    requests_per_second: float | None = None,
) -> tuple[DerivationStep, ...]:
    """The steps of an inference estimate of one row; `output_rate` in tokens per second of all replicas.

    `arrivals`: one rank's queue where `requests_per_second` come over all replicas.
    """
    gpus = scalar(ways.gpus) * replicas
    return (
        *infer_memory_steps(job, ways, hw, memory),
        *infer_speed_steps(job, ways, hw, memory, speed, replicas),
        *arrival_steps(job, arrivals, requests_per_second=requests_per_second),
        gpus_step(ways, replicas),
        *money_steps(
            money,
            hw,
            speed.shares,
            gpus=gpus,
            rate=None if output_rate is None else output_rate * money.day_share,
            hours=hours,
        ),
    )


def train_derivation(
    job: TrainJob,
    ways: TrainWays,
    hw: Hardware,
    memory: MemoryDocument,
    speed: TrainSpeed,
    money: Priced,
    *,
    replicas: int,
    hours: float | None,
) -> tuple[DerivationStep, ...]:
    """The steps of a training estimate of one row; `hours` until the token target, if there is one."""
    gpus = scalar(ways.gpus) * replicas
    return (
        *train_memory_steps(job, ways, hw, memory),
        *train_speed_steps(job, ways, hw, speed, replicas),
        gpus_step(ways, replicas),
        *money_steps(money, hw, speed.shares, gpus=gpus, rate=None, hours=hours),
    )

"""Money: from a price per hour and a rate to cost per hour, per token and in all.

Every function takes and gives columns; a price that nobody published is not a number and stays one.
"""

from __future__ import annotations

import numpy as np

from planner.estimate.types import Floats
from planner.units import MEGA, SECONDS_PER_HOUR


def usd_per_million_tokens(*, usd_per_hour: Floats, tokens_per_second: Floats) -> Floats:
    """USD per million tokens at full load; not a number where nothing is generated.

    >>> float(usd_per_million_tokens(usd_per_hour=np.array([3.6]), tokens_per_second=np.array([1000.0]))[0])
    1.0
    """
    made = np.where(tokens_per_second > 0, tokens_per_second, np.nan)
    result: Floats = usd_per_hour / SECONDS_PER_HOUR / made * MEGA
    return result


def usd_over(*, usd_per_hour: Floats, hours: float) -> Floats:
    """USD of a deployment kept for `hours`."""
    return usd_per_hour * hours


def hours_to_train(*, tokens: float, tokens_per_second: Floats) -> Floats:
    """Hours until `tokens` tokens are trained on; not a number at a rate of zero.

    >>> float(hours_to_train(tokens=3.6e9, tokens_per_second=np.array([1e6]))[0])
    1.0
    """
    rate = np.where(tokens_per_second > 0, tokens_per_second, np.nan)
    result: Floats = tokens / rate / SECONDS_PER_HOUR
    return result

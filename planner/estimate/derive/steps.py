"""How a step is written: an expression that a calculator takes, remarks in [brackets], and the result in full."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from planner.estimate.document import DerivationStep
from planner.estimate.types import Floats, Ints
from planner.units import MB, short_bytes


def scalar(value: Floats | Ints | float) -> float:
    """The only entry of a column of one row, or the number itself."""
    return float(np.asarray(value).reshape(-1)[0])


def exact(value: Floats | Ints | float) -> str:
    """A number with enough digits to compute on with.

    >>> exact(4096.0), exact(1234567.4), exact(0.0123456789), exact(4.0e12)
    ('4,096', '1,234,567', '0.012345679', '4,000,000,000,000')
    """
    x = scalar(value)
    if not math.isfinite(x):
        return "unbounded"
    return f"{x:,.0f}" if x == round(x) or abs(x) >= MB else f"{x:,.8g}"


def product(*factors: Floats | Ints | float) -> str:
    """Factors other than 1, multiplied; a 0 stays.

    >>> product(2, 1, 3.5), product(1, 1)
    ('2 x 3.5', '1')
    """
    return " x ".join(exact(f) for f in factors if scalar(f) != 1) or "1"


def over(text: str, divisor: Floats | Ints | float) -> str:
    """`text / divisor`, or the text alone where the divisor is 1.

    >>> over("12", 4), over("12", 1)
    ('12 / 4', '12')
    """
    return text if scalar(divisor) == 1 else f"{text} / {exact(divisor)}"


def total(terms: Iterable[tuple[str, Floats | Ints | float]]) -> str:
    """Named terms added up, those of 0 left out.

    >>> total([("weights", 10.0), ("nothing", 0.0), ("cache", 2.5)])
    '10 [weights] + 2.5 [cache]'
    """
    return " + ".join(f"{exact(v)} [{name}]" for name, v in terms if scalar(v)) or "0"


def bytes_text(value: Floats | Ints | float) -> str:
    """Whole bytes, and the same to read.

    >>> bytes_text(1073741824)
    '1,073,741,824 bytes (1.00 GiB)'
    """
    return f"{scalar(value):,.0f} bytes ({short_bytes(scalar(value))})"


def step(figure: str, formula: str, numbers: str, result: str, source: str) -> DerivationStep:
    """One line of `plan explain`."""
    return DerivationStep(figure=figure, formula=formula, numbers=numbers, result=result, source=source)


def part(name: str, formula: str, numbers: str, result: Floats | float, source: str) -> DerivationStep:
    """One part of the memory of a GPU."""
    return step(f"memory.per_gpu_bytes.{name}", formula, numbers, bytes_text(result), source)

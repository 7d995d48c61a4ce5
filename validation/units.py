"""Units of the replay, which shares no code with the planner: bytes, seconds, and how they are shown."""

from __future__ import annotations

KIB = 2**10
MIB = 2**20
GIB = 2**30
BITS_PER_BYTE = 8
NANO = 1e-9
MILLI = 1e-3
MEGA = 1e6


def gib(num_bytes: float) -> str:
    """Bytes for people; under a tenth of a GiB in MiB.

    >>> gib(3 * 2**29), gib(2**21)
    ('1.50 GiB', '2.00 MiB')
    """
    return f"{num_bytes / GIB:.2f} GiB" if abs(num_bytes) >= GIB / 10 else f"{num_bytes / MIB:.2f} MiB"


def shown(value: float | None, unit: str) -> str:
    """A figure with its unit for people.

    >>> shown(0.0123, "s"), shown(2**30, "bytes"), shown(1234.5, "1/s"), shown(None, "s")
    ('12.3 ms', '1.00 GiB', '1,234.5/s', '-')
    """
    if value is None:
        return "-"
    match unit:
        case "bytes":
            return gib(value)
        case "s":
            return f"{value:.3g} s" if value >= 1 else f"{value / MILLI:.3g} ms"
        case "1/s":
            return f"{value:,.1f}/s"
        case "1":
            return f"{value:,.4g}"
        case _:
            return f"{value:,.4g} {unit}"


def percent(share: float | None) -> str:
    """A signed share for people.

    >>> percent(-0.0123), percent(None)
    ('-1.2 %', '-')
    """
    return "-" if share is None else f"{share * 100:+.1f} %"

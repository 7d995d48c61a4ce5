"""Every error a user can meet, each with its exit code (contract §1)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class PlannerError(Exception):
    """A problem the user can understand and mend; the message says where, what and what next."""

    exit_code = 2


class InputError(PlannerError):
    """Bad input: a spec, a catalog, a plan file or a flag. Holds every message found, in file order."""

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))
        self.messages: tuple[str, ...] = messages


class UnknownNameError(InputError):
    """A name that the catalogs do not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.nearest = near_matches(name, tuple(known))
        super().__init__(f"unknown {kind} {name!r}; {did_you_mean(self.nearest)}")


class ImpossibleError(PlannerError):
    """One workload cannot be run as pinned (heads that do not divide, a precision the GPU lacks, ...)."""


class MissingPartError(PlannerError):
    """A system library or an optional package is missing; the message holds the command that mends it."""


class MismatchError(PlannerError):
    """`validate`, `catalog check` or `solve --verify` found a difference."""

    exit_code = 1


class InfeasibleError(PlannerError):
    """Proven: no plan exists."""

    exit_code = 3


class NoPlanInTimeError(PlannerError):
    """The time limit passed without any plan."""

    exit_code = 4


def near_matches(name: str, known: Sequence[str], most: int = 3) -> tuple[str, ...]:
    """The known names most like `name`, best first: near spellings, then names that contain it.

    >>> near_matches("lama-2-7b", ["llama-2-7b", "gpt2"])
    ('llama-2-7b',)
    """
    folded = {k.casefold(): k for k in known}
    wanted = name.casefold()
    near = [folded[m] for m in difflib.get_close_matches(wanted, folded, n=most, cutoff=0.6)]
    near += [k for k in known if wanted in k.casefold() and k not in near]
    return tuple(near[:most])


def did_you_mean(nearest: Sequence[str]) -> str:
    """The tail of an error message that offers near matches."""
    return f"nearest: {', '.join(nearest)}" if nearest else "nothing like it is known"

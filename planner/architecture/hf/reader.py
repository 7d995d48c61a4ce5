"""Typed access to a `config.json`: every key is read, ignored on purpose, or reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.architecture.hf.ignored import IGNORED_KEYS, IGNORED_PREFIXES
from planner.architecture.schema_parts import Activation
from planner.errors import InputError, did_you_mean, near_matches

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "gegelu": "gegelu",
    "quick_gelu": "quick_gelu",
    "relu": "relu",
    "relu2": "relu2",
    "silu": "silu",
    "swiglu": "silu",
    "swish": "silu",
}

MOST_OF_ANYTHING = 1_000_000_000
"""Above the longest contexts and largest vocabularies by two orders of magnitude."""
MOST_OF = {
    "vocab": MOST_OF_ANYTHING,
    "layer": 10_000,
    "depth": 10_000,
    "hidden": 10_000_000,
    "intermediate": 10_000_000,
    "head": 1_000_000,
}
"""By the first of these in the key: layers are at most a few hundred, widths a few hundred thousand."""


class Config:
    """One (nested) mapping of a config file. Reading a key marks it as known; `problems` names the rest."""

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        path: str = "",
        defaults: Mapping[str, Any] | None = None,
        aliases: Mapping[str, str | tuple[str, ...]] | None = None,
    ) -> None:
        self._values = values
        self._path = path
        self._defaults = defaults or {}
        self._aliases = {k: (v,) if isinstance(v, str) else v for k, v in (aliases or {}).items()}
        self._known: set[str] = set()
        self._parts: list[Config] = []

    def where(self, key: str) -> str:
        """The key with the path to it, for messages."""
        return f"{self._path}.{key}" if self._path else key

    def has(self, key: str) -> bool:
        """Whether the file gives the key a value (under its own name or the family's)."""
        return self.raw(key, default=None, with_defaults=False) is not None

    def raw(self, key: str, default: Any = None, *, with_defaults: bool = True) -> Any:
        """The value as it stands; the library's default where the key is absent."""
        names = (key, *self._aliases.get(key, ()))
        self._known.update(names)
        for name in names:
            if name in self._values:
                return self._values[name]
        return self._defaults.get(key, default) if with_defaults else default

    def values(self) -> Mapping[str, Any]:
        """The mapping as the file has it."""
        return self._values

    def inline(
        self,
        values: Mapping[str, Any],
        *,
        defaults: Mapping[str, Any],
        aliases: Mapping[str, str | tuple[str, ...]] | None = None,
    ) -> Config:
        """Keys of this level read as a part of their own."""
        found = Config(values, path=self._path, defaults=defaults, aliases=aliases)
        self._parts.append(found)
        return found

    def given(self) -> frozenset[str]:
        """The keys the file has."""
        return frozenset(self._values)

    def size(self, key: str, default: int | None = None) -> int:
        """A positive integer; null counts as absent.

        Raises InputError where it is missing or not one.
        """
        found = self.optional_size(key)
        if found is None:
            found = default
        if found is None:
            raise InputError(f"{self.where(key)} is missing; {did_you_mean(near_matches(key, tuple(self._values)))}")
        return found

    def optional_size(self, key: str) -> int | None:
        """A positive integer, or None where absent or null."""
        value = self.raw(key)
        if value is None:
            return None
        if not _is_whole(value) or value <= 0:
            raise InputError(f"{self.where(key)} is {value!r}, not a positive whole number")
        return self._believable(key, int(value))

    def count(self, key: str, default: int = 0) -> int:
        """A whole number that may be 0; null counts as absent."""
        value = self.raw(key)
        if value is None:
            return default
        if not _is_whole(value) or value < 0:
            raise InputError(f"{self.where(key)} is {value!r}, not a whole number of 0 or more")
        return self._believable(key, int(value))

    def _believable(self, key: str, value: int) -> int:
        """The value, unless no model has so many: a slip of units or of the keyboard."""
        most = next((limit for part, limit in MOST_OF.items() if part in key), MOST_OF_ANYTHING)
        if value > most:
            raise InputError(f"{self.where(key)} is {value:,}; no model has more than {most:,}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """True or false; null counts as absent."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise InputError(f"{self.where(key)} is {value!r}, not true or false")
        return value

    def rate(self, key: str, default: float = 0.0) -> float:
        """A number of 0 or more, such as a dropout rate."""
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise InputError(f"{self.where(key)} is {value!r}, not a number of 0 or more")
        return float(value)

    def word(self, key: str, default: str = "") -> str:
        """A string; null counts as absent."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise InputError(f"{self.where(key)} is {value!r}, not a word")
        return value

    def activation(self, key: str = "hidden_act", default: str = "silu") -> Activation:
        """The activation function, by what it computes."""
        name = self.word(key, default)
        if name not in ACTIVATIONS:
            near = did_you_mean(near_matches(name, tuple(ACTIVATIONS)))
            raise InputError(f"{self.where(key)}: unknown activation {name!r}; {near}")
        return ACTIVATIONS[name]

    def sequence(self, key: str) -> tuple[Any, ...] | None:
        """A list, or None where absent or null."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InputError(f"{self.where(key)} is {value!r}, not a list")
        return tuple(value)

    def sizes(self, key: str) -> tuple[int, ...]:
        """A list of positive integers.

        Raises InputError where it is missing or holds anything else.
        """
        found = self.sequence(key)
        if not found or not all(_is_whole(v) and v > 0 for v in found):
            raise InputError(f"{self.where(key)} is {self.raw(key)!r}, not a list of positive whole numbers")
        return found

    def part(
        self,
        key: str,
        *,
        defaults: Mapping[str, Any] | None = None,
        aliases: Mapping[str, str | tuple[str, ...]] | None = None,
        required: bool = False,
    ) -> Config:
        """A nested mapping, empty where absent.

        Raises InputError where it is required and absent, or no mapping.
        """
        value = self.raw(key)
        if value is not None and not isinstance(value, Mapping):
            raise InputError(f"{self.where(key)} is {value!r}, not a mapping")
        if value is None and required:
            raise InputError(f"{self.where(key)} is missing")
        found = Config(value or {}, path=self.where(key), defaults=defaults, aliases=aliases)
        self._parts.append(found)
        return found

    def ignore(self, *keys: str) -> None:
        """Keys of this family that change no tensor."""
        self._known.update(keys)

    def refuse(self, key: str, why: str) -> None:
        """Raise InputError where a switch is on that we do not model."""
        if self.flag(key):
            raise InputError(f"{self.where(key)}: {why}")

    def problems(self) -> list[str]:
        """Every key that nobody asked for, with the nearest that somebody did."""
        unknown = (
            k
            for k in self._values
            if k not in self._known and k not in IGNORED_KEYS and not str(k).startswith(IGNORED_PREFIXES)
        )
        found = [
            f"unknown key {self.where(str(k))}; {did_you_mean(near_matches(str(k), tuple(sorted(self._known))))}"
            for k in unknown
        ]
        return found + [problem for part in self._parts for problem in part.problems()]


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

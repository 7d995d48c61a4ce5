"""Which engine profile a name and a version mean."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.version import InvalidVersion, Version

from planner.catalog.types import EngineProfile
from planner.errors import InputError, UnknownNameError


def engine_profile(name: str, profiles: Sequence[EngineProfile]) -> EngineProfile:
    """The profile for `engine` (the newest) or `engine@version` (the one whose range of versions holds it).

    Raises UnknownNameError for an unknown engine and InputError for a version that is none, or that no profile holds.
    """
    engine, _, version = name.partition("@")
    own = [p for p in profiles if p.engine.casefold() == engine.casefold()]
    if not own:
        raise UnknownNameError("engine", engine, dict.fromkeys(p.engine for p in profiles))
    own.sort(key=lambda p: Version(p.since))
    if not version:
        if "@" in name:
            raise InputError(f"engine {name!r} names no version after the @; leave the @ out for the newest profile")
        return own[-1]
    wanted = parsed_version(engine, version)
    fitting = [p for p in own if Version(p.since) <= wanted]
    if not fitting:
        raise InputError(f"engine {engine} {version} is older than every profile; nearest: {engine}@{own[0].since}")
    newest = own[-1]
    if newest.before is not None and Version(wanted.base_version) >= Version(newest.before):
        raise InputError(
            f"engine {engine} {version} is newer than every profile; the newest holds for {version_range(newest)}; "
            f"nearest: {', '.join(f'{engine}@{p.since}' for p in reversed(own[-2:]))}"
        )
    return fitting[-1]


def version_range(profile: EngineProfile) -> str:
    """The versions a profile holds for, in words. The next newer profile, if any, ends it earlier."""
    last = "" if profile.before is None else f" up to, not including, {profile.before}"
    return f"versions from {profile.since}{last}"


def parsed_version(engine: str, version: str) -> Version:
    """The version; a leading `b` of llama.cpp's build numbers counts as nothing.

    Raises InputError where it is no version.
    """
    try:
        return Version(version.removeprefix("b"))
    except InvalidVersion as err:
        raise InputError(f"engine {engine}: {version!r} is not a version; write it like {engine}@0.11.0") from err

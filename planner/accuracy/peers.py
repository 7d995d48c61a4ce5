"""What other public estimators say of the same records: `validation/records/peers/*.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from planner.accuracy.figures import Figures, figures
from planner.accuracy.kinds import KINDS, of_family
from planner.accuracy.types import Scored

SCHEMA = "validation/peer/v1"


class PeerFigure(BaseModel):
    """What a package says of one figure, in bytes, seconds, rates per second or shares as the record's unit says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    rule: str
    predicted: float


class Peer(BaseModel):
    """One package and all that it says; rows it could not answer are counts."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: str
    name: str
    version: str
    what: str
    """Which of its functions were asked, and of what."""
    command: str
    figures: tuple[PeerFigure, ...]
    failures: dict[str, int] = {}
    """Rows it could not answer, by its own message: number of them."""


@dataclass(frozen=True, slots=True)
class Both:
    """The same rows, predicted by the package and by this planner."""

    theirs: list[Scored]
    ours: list[Scored]


def load_peers(folder: Path) -> list[Peer]:
    """Every package's file, in order of their names. Raises ValidationError where one is of another shape."""
    adapter = TypeAdapter(Peer)
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [adapter.validate_json(p.read_bytes()) for p in paths]


def both(peer: Peer, rows: Sequence[Scored]) -> Both:
    """The rows that both predict."""
    said = {(f.id, f.rule): f.predicted for f in peer.figures}
    ours = [r for r in rows if (r.record, r.rule) in said and r.predicted is not None]
    return Both(theirs=[replace(r, predicted=said[r.record, r.rule], interval=None) for r in ours], ours=ours)


def peer_tables(peer: Peer, rows: Sequence[Scored]) -> list[dict[str, Figures]]:
    """For memory and speed: figures of the package and of this planner, by kind of row."""
    shared = both(peer, rows)
    tables = []
    for family in ("memory", "speed"):
        lines: dict[str, Figures] = {}
        for kind in KINDS["published", family]:
            theirs = [r for r in of_family(shared.theirs, family) if kind.holds(r)]
            if theirs:
                lines[f"{kind.title}: {peer.name}"] = figures(theirs)
                lines[f"{kind.title}: ours"] = figures([r for r in of_family(shared.ours, family) if kind.holds(r)])
        if lines:
            tables.append(lines)
    return tables

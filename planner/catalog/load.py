"""Read the catalogs: each part when it is asked for, checked by its type, with an error that names file and entry."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import yaml
from pydantic import ValidationError

from planner.catalog.engines import engine_profile
from planner.catalog.support import support_of
from planner.catalog.types import (
    ArchSupport,
    Efficiency,
    EnergyRegion,
    EngineProfile,
    Fact,
    Gpu,
    HostTemplate,
    Node,
    Offer,
    PrecisionFormat,
    ProviderRegion,
    Purchase,
    PurchaseRule,
    Support,
)
from planner.errors import InputError, UnknownNameError
from planner.plain_yaml import load_yaml
from planner.resources import data_folder

if TYPE_CHECKING:
    from planner.architecture.catalog import ModelCatalog

F = TypeVar("F", bound=Fact)


class _Named(Protocol):
    @property
    def id(self) -> str: ...


N = TypeVar("N", bound=_Named)


@dataclass(frozen=True)
class Catalog:
    """All facts of one folder. Parts are read when first asked for and kept; ids are case-insensitive."""

    folder: Path
    replaced: tuple[Gpu, ...] = ()
    """GPUs that stand in for those of the same id."""

    @classmethod
    def load(cls, folder: Path | None = None) -> Catalog:
        """The catalogs in `folder`, or the shipped ones. Nothing is read yet.

        Raises InputError where the folder does not exist.
        """
        if folder is not None and not folder.is_dir():
            raise InputError(f"{folder}: no such catalog folder")
        return cls(folder or data_folder("catalogs"))

    @functools.cached_property
    def gpus(self) -> Mapping[str, Gpu]:
        """Accelerators by id, files and entries in order."""
        return by_id(self._entries("gpus", Gpu)) | {gpu.id: gpu for gpu in self.replaced}

    def with_gpu(self, gpu: Gpu) -> Catalog:
        """The same catalog with one GPU's facts put in place of its own."""
        return Catalog(self.folder, (*self.replaced, gpu))

    @functools.cached_property
    def arch_support(self) -> Mapping[str, ArchSupport]:
        """Number formats by architecture."""
        return {a.arch: a for a in self._entries("arch.yaml", ArchSupport)}

    @functools.cached_property
    def nodes(self) -> Mapping[str, Node]:
        """Servers, racks, trays and workstations by id."""
        return by_id(self._entries("nodes.yaml", Node))

    @functools.cached_property
    def hosts(self) -> tuple[HostTemplate, ...]:
        """Typical hosts, for GPUs that no node holds."""
        return tuple(self._entries("hosts.yaml", HostTemplate))

    @functools.cached_property
    def offers(self) -> tuple[Offer, ...]:
        """Everything one can rent, by provider file."""
        return tuple(self._entries("offers", Offer))

    @functools.cached_property
    def purchases(self) -> tuple[Purchase, ...]:
        """All readings of purchase prices."""
        return tuple(self._entries("purchases.yaml", Purchase))

    @functools.cached_property
    def purchase_rules(self) -> tuple[PurchaseRule, ...]:
        """Adders, licences and residual values that go with purchases."""
        return tuple(self._entries("purchase_rules.yaml", PurchaseRule))

    @functools.cached_property
    def energy(self) -> Mapping[str, EnergyRegion]:
        """Electricity, carbon and overhead by region id."""
        return by_id(self._entries("energy.yaml", EnergyRegion))

    @functools.cached_property
    def provider_regions(self) -> Mapping[tuple[str, str], ProviderRegion]:
        """Where providers' regions lie, by provider and region without case; what is not here lies nowhere known."""
        return {(r.provider.casefold(), r.region.casefold()): r for r in self._entries("regions.yaml", ProviderRegion)}

    @functools.cached_property
    def precisions(self) -> Mapping[str, PrecisionFormat]:
        """Weight formats by precision id."""
        return by_id(self._entries("precisions.yaml", PrecisionFormat))

    @functools.cached_property
    def efficiency(self) -> tuple[Efficiency, ...]:
        """Measured shares of peak and overheads, as evidence."""
        return tuple(self._entries("efficiency.yaml", Efficiency))

    @functools.cached_property
    def engines(self) -> tuple[EngineProfile, ...]:
        """Engine profiles, oldest first within an engine."""
        return tuple(self._entries("engines", EngineProfile))

    @functools.cached_property
    def models(self) -> ModelCatalog:
        """Models; files are read model by model."""
        from planner.architecture.catalog import ModelCatalog

        return ModelCatalog(self.folder / "models")

    @functools.cached_property
    def _offers_by_id(self) -> Mapping[str, Offer]:
        return by_id(self.offers)

    def gpu(self, name: str) -> Gpu:
        """The accelerator. Raises UnknownNameError with near matches."""
        return look_up("GPU", name, self.gpus)

    def node(self, name: str) -> Node:
        """The node. Raises UnknownNameError with near matches."""
        return look_up("node", name, self.nodes)

    def offer(self, name: str) -> Offer:
        """The offer `provider/instance/region`. Raises UnknownNameError with near matches."""
        return look_up("offer", name, self._offers_by_id)

    def region(self, name: str) -> EnergyRegion:
        """The energy region. Raises UnknownNameError with near matches."""
        return look_up("region", name, self.energy)

    def precision(self, name: str) -> PrecisionFormat:
        """The weight format. Raises UnknownNameError with near matches."""
        return look_up("precision", name, self.precisions)

    def engine(self, name: str) -> EngineProfile:
        """The profile for `engine` or `engine@version`: the newest one not newer than the version.

        Raises UnknownNameError, or InputError for a version before the oldest profile.
        """
        return engine_profile(name, self.engines)

    def support(self, gpu: Gpu, precision: PrecisionFormat) -> Support:
        """Whether a GPU computes a weight format natively, expands it to 16 bit, or cannot hold it."""
        return support_of(gpu, precision, self.arch_support[gpu.arch])

    def sha256(self) -> str:
        """SHA-256 over names and bytes of all catalog files, in order of their names."""
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*.yaml")):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(self.folder).as_posix()}\0{len(data)}\0".encode())
            digest.update(data)
        return digest.hexdigest()

    def _entries(self, part: str, kind: type[F]) -> Iterator[F]:
        """The entries of one file, or of every file of one folder in order of their names."""
        place = self.folder / part
        for path in sorted(place.glob("*.yaml")) if place.is_dir() else [place]:
            yield from read_entries(path, kind)


def read_entries(path: Path, kind: type[F]) -> list[F]:
    """The entries of one catalog file.

    Raises InputError with every fault of the file, each naming its entry and field.
    """
    try:
        raw = load_yaml(path.read_bytes())
    except OSError as err:
        raise InputError(f"{path}: {err.strerror}") from err
    except yaml.YAMLError as err:
        raise InputError(f"{path}: not YAML: {' '.join(str(err).split())}") from err
    if not isinstance(raw, list):
        raise InputError(f"{path}: holds no list of entries")
    entries: list[F] = []
    faults: list[str] = []
    for number, item in enumerate(raw, start=1):
        try:
            entries.append(kind.model_validate(item))
        except ValidationError as err:
            faults += [f"{path}: {entry_name(item, number)}: {line}" for line in fault_lines(err)]
    if faults:
        raise InputError(*faults)
    return entries


def entry_name(item: Any, number: int) -> str:
    """What to call an entry in a message: its id, else its place in the file."""
    if isinstance(item, dict):
        for key in ("id", "item", "arch", "engine", "what"):
            if key in item:
                return str(item[key])
    return f"entry {number}"


def fault_lines(err: ValidationError) -> list[str]:
    """One `field: what is wrong` line per fault."""
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in err.errors()]


def by_id(entries: Iterable[N]) -> dict[str, N]:
    """Entries under their ids.

    Raises InputError where two entries share one.
    """
    found: dict[str, N] = {}
    doubles = []
    for entry in entries:
        if entry.id in found:
            doubles.append(f"catalogs: {entry.id!r} stands there twice")
        found[entry.id] = entry
    if doubles:
        raise InputError(*doubles)
    return found


def look_up(kind: str, name: str, known: Mapping[str, N]) -> N:
    """The entry under a name, whatever its case.

    Raises UnknownNameError with near matches.
    """
    entry = known.get(name) or known.get(name.lower())
    if entry is None:
        wanted = name.casefold()
        entry = next((e for key, e in known.items() if key.casefold() == wanted), None)
    if entry is None:
        raise UnknownNameError(kind, name, known)
    return entry

"""The decisions, with the questions that rules ask of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from planner.solve.calendar import Contract, Delivery
from planner.solve.cp import CpModel, IntVar
from planner.solve.instance import Instance
from planner.solve.patterns import owner_of
from planner.solve.scale import FLUID_GRID
from planner.solve.ways import Way

Term = tuple[int, IntVar]
Slot = tuple[str, int]
"""A node type in a period."""
ColumnSlot = tuple[str, str, int]
"""A workload, one of its columns, a period."""


@dataclass(frozen=True, slots=True)
class Sum:
    """A weighted sum of decisions and a constant."""

    terms: tuple[Term, ...] = ()
    constant: int = 0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.terms + other.terms, self.constant + other.constant)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetVars:
    """All decisions of one model."""

    takes: dict[tuple[str, str], IntVar] = field(default_factory=dict)
    """Mode `one`: the column is taken."""
    copies: dict[ColumnSlot, IntVar] = field(default_factory=dict)
    """Mode `replicas`: replicas of the column."""
    used: dict[tuple[str, str], IntVar] = field(default_factory=dict)
    """Mode `replicas`: 1 where the column has any replica, for columns with a preference."""
    share: dict[ColumnSlot, IntVar] = field(default_factory=dict)
    """Mode `fluid`: the part of the demand that the column serves, in steps of 1 / FLUID_GRID."""
    present: dict[Slot, IntVar] = field(default_factory=dict)
    rented: dict[Slot, IntVar] = field(default_factory=dict)
    reserved: dict[tuple[str, Contract], IntVar] = field(default_factory=dict)
    bought: dict[tuple[str, Delivery], IntVar] = field(default_factory=dict)
    filled: dict[tuple[str, int, int, int], IntVar] = field(default_factory=dict)
    """Nodes filled by pattern, by node type, period, time of day and index of the pattern."""
    flow: dict[tuple[str, int, int, int], IntVar] = field(default_factory=dict)
    """Nodes whose filling passes an arc, by node type, period, time of day and index of the arc."""
    cut: dict[tuple[str, int, int, int], IntVar] = field(default_factory=dict)
    """GPUs cut by pattern, by node type, period, time of day and index of the pattern."""
    spread: dict[tuple[str, str, int, int], IntVar] = field(default_factory=dict)
    """Nodes of a type on which replicas of a workload that must be spread are counted on, by workload, node type,
    period and time of day."""
    crowd: dict[tuple[str, int, int, int, int], IntVar] = field(default_factory=dict)
    """1 where at least so many workloads that must be spread take a size, by node type, period, time of day, index of
    the size and number of workloads."""
    working: dict[Slot, IntVar] = field(default_factory=dict)
    """1 where any node of a type with spares works."""

    @property
    def shares(self) -> frozenset[int]:
        """Indices of the decisions that are fractions."""
        return frozenset(v.index for v in self.share.values())

    @classmethod
    def create(cls, i: Instance, m: CpModel) -> FleetVars:
        """Declare every decision in `m`."""
        x = cls()
        modes = {w.id: w.mode for w in i.workloads}
        for workload, ways in i.ways.items():
            for way in ways:
                x._declare_way(way, modes[workload], i, m)
        for w in (w for w in i.workloads if any(owner_of(way.size) and way.least_nodes > 1 for way in i.ways[w.id])):
            types = sorted({way.column.node for way in i.ways[w.id]})
            for t, p, d in ((t, p, d) for t in types for p in i.periods for d in w.times or i.times):
                x.spread[w.id, t, p, d] = m.new_int_var(0, w.least_nodes, f"spread[{w.id},{t},{p},{d}]")
        for t, p in i.slots():
            x._declare_nodes(t, p, i, m)
        return x

    def _declare_way(self, way: Way, mode: str, i: Instance, m: CpModel) -> None:
        name = f"{way.workload}/{way.column.id}"
        if mode == "one":
            self.takes[way.key] = m.new_bool_var(f"takes[{name}]")
            return
        if mode == "replicas" and way.column.preference:
            self.used[way.key] = m.new_bool_var(f"used[{name}]")
        for p in i.periods:
            if mode == "fluid":
                self.share[*way.key, p] = m.new_int_var(0, FLUID_GRID, f"share[{name},{p}]")
            else:
                self.copies[*way.key, p] = m.new_int_var(0, way.replicas[p], f"copies[{name},{p}]")

    def _declare_nodes(self, t: str, p: int, i: Instance, m: CpModel) -> None:
        node = i.node_types[t]
        most = i.most_nodes[t]
        self.present[t, p] = m.new_int_var(node.owned, most, f"present[{t},{p}]")
        if node.cost is not None:
            self.rented[t, p] = m.new_int_var(0, most, f"rented[{t},{p}]")
        for c in i.contracts.get(t, ()):
            if c.first == p:
                self.reserved[t, c] = m.new_int_var(0, most, f"reserved[{t},{c.first},{c.last}]")
        for delivery in i.deliveries.get(t, ()):
            if delivery.first == p:
                self.bought[t, delivery] = m.new_int_var(0, most, f"bought[{t},{p}]")
        if node.spares:
            self.working[t, p] = m.new_bool_var(f"working[{t},{p}]")
        for d in i.times:
            self._declare_crowds(t, p, d, i, m)
            for k in range(len(i.packing[t].patterns)):
                self.filled[t, p, d, k] = m.new_int_var(0, most, f"filled[{t},{p},{d},{k}]")
            for k in range(len(i.packing[t].arcs)):
                self.flow[t, p, d, k] = m.new_int_var(0, most * node.gpus, f"flow[{t},{p},{d},{k}]")
            for k in range(len(i.packing[t].cuts)):
                self.cut[t, p, d, k] = m.new_int_var(0, most * node.gpus, f"cut[{t},{p},{d},{k}]")

    def _declare_crowds(self, t: str, p: int, d: int, i: Instance, m: CpModel) -> None:
        for k, size in enumerate(i.packing[t].sizes):
            for n in range(1, len({way.workload for way in i.spread_ways(t, p, d, size)}) + 1):
                self.crowd[t, p, d, k, n] = m.new_bool_var(f"crowd[{t},{p},{d},{k},{n}]")

    def cut_gpus(self, i: Instance, t: str, p: int, d: int) -> tuple[Term, ...]:
        """GPUs of a node type that are cut."""
        return tuple((1, self.cut[t, p, d, k]) for k in range(len(i.packing[t].cuts)))

    def pieces(self, way: Way, p: int) -> tuple[Term, ...]:
        """Pieces of the way that sit on nodes in the period: replicas times the nodes each spans."""
        if way.key in self.takes:
            return ((way.replicas[p] * way.column.nodes, self.takes[way.key]),)
        if (*way.key, p) in self.copies:
            return ((way.column.nodes, self.copies[*way.key, p]),)
        return ()

    def delivered(self, i: Instance, t: str, p: int) -> tuple[Term, ...]:
        """Nodes bought early enough to be there in the period."""
        return tuple((1, self.bought[t, d]) for d in i.deliveries.get(t, ()) if d.first <= p)

    def under_contract(self, i: Instance, t: str, p: int) -> tuple[Term, ...]:
        """Reserved nodes whose contract serves the period."""
        return tuple((1, self.reserved[t, c]) for c in i.contracts.get(t, ()) if c.first <= p <= c.last)

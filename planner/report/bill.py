"""What is rented and bought, and which workload sits on which GPU, as ready text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from planner.plan.types import NodeLoad, Placement, Plan, PurchaseLine, Totals
from planner.report.bars import WHOLE_SHARE, letter, share_text, stacked, tone
from planner.report.currency import currency, in_currency
from planner.report.dates import date_text
from planner.report.language import _, ngettext
from planner.report.numbers import Sum, dealt_out, exact_sum, figure, fixed, money, money_sum, percent, shown, whole
from planner.report.types import Bill, BillRow, Cell, NodeGroup, Segment
from planner.report.words import CONFIDENCE, LOW_CONFIDENCE, PROCUREMENT, PROVIDERS, called, comma_separated, listed
from planner.report.workloads import UNKNOWN
from planner.units import MICRO, ceil_div

MOST_NODE_GROUPS = 40
"""Groups of equal nodes drawn; the others stand in plan.json."""
CELLS_PER_ROW = 8
CELL = 36
"""Pitch of the drawn GPUs, in drawing units."""
LARGEST_ROUNDING_USD = 0.001
"""A difference between lines and total above this is no rounding of the plan's own numbers."""


def bill_view(plan: Plan, gpu_names: Mapping[str, str]) -> Bill:
    """The bill of materials; `gpu_names` maps GPU ids to the names people use."""
    lines, totals = plan.purchases, plan.totals
    rent = [line.usd_per_hour or 0.0 for line in lines]
    capex = [line.capex_usd or 0.0 for line in lines]
    mean = totals.usd_per_hour if totals and totals.usd_per_hour is not None else sum(rent)
    hourly = separate(rent, mean) if plan.periods else money_sum(rent, mean)
    bought = money_sum(capex, totals.capex_usd if totals else sum(capex), digits=0, most=2)
    drawn = [line.power_kw for line in lines]
    most_drawn = totals.it_power_kw if plan.periods and totals else sum(drawn)
    power = (
        Sum(tuple(map(figure, drawn)), figure(most_drawn), True)
        if plan.periods
        else exact_sum(drawn, most_drawn, most=5)
    )
    is_priced = all(line.usd_per_hour is not None for line in lines) and bool(lines)
    columns = zip(lines, hourly.parts, bought.parts, power.parts, strict=True)
    rows = tuple(_row(plan, i, line, hour, once, kw, gpu_names) for i, (line, hour, once, kw) in enumerate(columns))
    num_nodes = totals.nodes if plan.periods and totals else sum(line.nodes for line in lines)
    return Bill(
        rows=rows,
        nodes=whole(num_nodes),
        total_label=_total_label(plan, num_nodes),
        terms=tuple(_terms(plan)),
        gpus=whole(totals.gpus if plan.periods and totals else sum(line.gpus for line in lines)),
        usd_per_hour=hourly.total if is_priced else UNKNOWN,
        capex_usd=bought.total,
        power_kw=power.total,
        cooled_power_kw=figure(totals.power_kw) if totals else UNKNOWN,
        rack_units=figure(totals.rack_units) if totals and totals.rack_units is not None else UNKNOWN,
        note=_bill_note(plan, is_priced, hourly.is_exact and bought.is_exact),
        has_capex=any(capex),
        cost_bar=_cost_bar(rows, [r * share_there(plan, x) for r, x in zip(rent, lines, strict=True)])
        if is_priced
        else (),
    )


def _total_label(plan: Plan, num_nodes: int) -> str:
    """What the last row is: over periods lines come and go, so that it is no sum."""
    text = (
        ngettext("{n} node at most; mean cost", "{n} nodes at most; mean cost", num_nodes)
        if plan.periods
        else ngettext("Total: {n} node", "Total: {n} nodes", num_nodes)
    )
    return text.format(n=whole(num_nodes))


def idle_nodes(plan: Plan) -> int:
    """Nodes that are empty at every time of day."""
    times = {load.time_index for load in plan.nodes}
    lines = {load.purchase for load in plan.nodes}
    empty = [load for load in plan.nodes if not load.replicas]
    return sum(
        min(sum(e.nodes for e in empty if (e.purchase, e.time_index) == (line, time)) for time in times)
        for line in lines
    )


def _terms(plan: Plan) -> Iterator[str]:
    """What a buyer asks beside the price: spares, and when bought nodes are there."""
    idle = idle_nodes(plan)
    if idle:
        yield ngettext(
            "{n} of the nodes stands by empty, for faults.", "{n} of the nodes stand by empty, for faults.", idle
        ).format(n=whole(idle))
    if not any(line.procurement == "buy" for line in plan.purchases):
        return
    fleet = plan.inputs.spec.get("fleet")
    lead = fleet.get("lead_months") if isinstance(fleet, Mapping) else None
    if isinstance(lead, int) and lead > 0:
        yield ngettext(
            "Bought nodes are counted on {n} month after their order (fleet.lead_months).",
            "Bought nodes are counted on {n} months after their order (fleet.lead_months).",
            lead,
        ).format(n=whole(lead))
    else:
        yield _("Delivery times of bought nodes are not in the catalogs: have them written into the quote.")


def _bill_note(plan: Plan, is_priced: bool, is_exact: bool) -> str:
    """What the reader has to know about how the lines add up; empty when they do, to the last digit."""
    if not is_priced:
        return _("At least one price is unknown, so there is no total.") if plan.purchases else ""
    if plan.periods:
        return _(
            "Each line costs its price while it is there; the total is the mean over the horizon, and counts and power "
            "are those of the fullest period."
        )
    if is_exact or plan.totals is None:
        return ""
    apart = max(
        abs((plan.totals.usd_per_hour or 0.0) - sum(line.usd_per_hour or 0.0 for line in plan.purchases)),
        abs(plan.totals.capex_usd - sum(line.capex_usd or 0.0 for line in plan.purchases)),
    )
    if apart > LARGEST_ROUNDING_USD:
        text = _("The lines and the totals of this plan differ by {amount} {currency}.")
        return text.format(amount=money(apart), currency=currency())
    return _("Lines are rounded; the totals are rounded from the exact sums.")


def separate(amounts_usd: Sequence[float], total_usd: float) -> Sum:
    """Amounts beside a total that they do not add up to."""
    return Sum(tuple(map(money, amounts_usd)), money(total_usd), True)


def share_there(plan: Plan, line: PurchaseLine) -> float:
    """Share of the horizon in which the nodes of a line are there; 1 without periods."""
    if not plan.periods:
        return 1.0
    months = sum(p.months for p in plan.periods[line.period : line.last_period + 1])
    return months / sum(p.months for p in plan.periods)


def time_there(plan: Plan, line: PurchaseLine) -> str:
    """When the nodes of a line are there; empty where they always are."""
    if not plan.periods or (line.period, line.last_period) == (0, len(plan.periods) - 1):
        return ""
    last = plan.periods[line.last_period]
    return months_text(plan.periods[line.period].first_month, last.first_month + last.months)


def months_text(first: int, end: int) -> str:
    """Months counted from 1, both ends included.

    >>> months_text(0, 12), months_text(11, 12)
    ('months 1 to 12', 'month 12')
    """
    if end - first == 1:
        return _("month {n}").format(n=whole(end))
    return _("months {first} to {last}").format(first=whole(first + 1), last=whole(end))


def how_text(plan: Plan, line: PurchaseLine) -> str:
    """`bought, months 13 to 36`."""
    when = time_there(plan, line)
    return comma_separated([called(PROCUREMENT, line.procurement), *([when] if when else [])])


def _row(
    plan: Plan,
    index: int,
    line: PurchaseLine,
    usd_per_hour: str,
    capex_usd: str,
    power_kw: str,
    gpu_names: Mapping[str, str],
) -> BillRow:
    gpu = gpu_names.get(line.gpu, line.gpu)
    is_known = bool(line.price_confidence) or line.procurement == "owned"
    confidence = line.price_confidence or ""
    return BillRow(
        number=str(index + 1),
        item=f"{whole(line.nodes)} × {shown(line.node)}",
        offer=shown(line.offer),
        provider=called(PROVIDERS, line.provider) if line.provider in PROVIDERS else shown(line.provider),
        procurement=how_text(plan, line),
        gpu=shown(gpu),
        nodes=whole(line.nodes),
        gpus=whole(line.gpus),
        usd_per_hour=usd_per_hour if line.usd_per_hour is not None else UNKNOWN,
        capex_usd=capex_usd if line.capex_usd is not None else UNKNOWN,
        spread=_spread(line),
        power_kw=power_kw,
        rack_units=figure(line.rack_units) if line.rack_units is not None else UNKNOWN,
        period=str(line.period + 1),
        source=shown(line.price_source or UNKNOWN, longest=300),
        as_of=date_text(line.price_as_of or UNKNOWN),
        confidence=called(CONFIDENCE, confidence or UNKNOWN) if is_known else _("unknown"),
        is_weak=confidence.casefold() in LOW_CONFIDENCE or not is_known,
    )


def _spread(line: PurchaseLine) -> str:
    """Lowest and highest reading of the price of one node, where there was more than one."""
    if line.usd_low is None or line.usd_high is None or line.usd_low == line.usd_high:
        return ""
    is_bought = line.procurement == "buy"
    low, high = (fixed(in_currency(usd), 0 if is_bought else 2) for usd in (line.usd_low, line.usd_high))
    text = _("{low} to {high} {currency} a node") if is_bought else _("{low} to {high} {currency}/h a node")
    return text.format(low=low, high=high, currency=currency())


def _cost_bar(rows: Sequence[BillRow], rent: Sequence[float]) -> tuple[Segment, ...]:
    """Shares of the lines in the hourly cost, largest first; lines that cost nothing are left out."""
    total = sum(rent)
    if total <= 0:
        return ()
    order = sorted((i for i, r in enumerate(rent) if r > 0), key=lambda i: (-rent[i], i))
    # Exact integers in proportion to the rents: shares that add up to 100 % by largest remainder.
    shares = dealt_out([round(rent[i] / MICRO) for i in order], WHOLE_SHARE)
    labels = [
        (
            tone(k),
            rows[i].number,
            _("{item}, {procurement}").format(item=rows[i].item, procurement=rows[i].procurement),
            hourly_unit(rows[i].usd_per_hour),
            share_text(rent[i], shares[k]),
        )
        for k, i in enumerate(order)
    ]
    return stacked(labels, [rent[i] for i in order], total)


def power_text(totals: Totals) -> str:
    """Facility and IT power in one phrase."""
    return _("{facility} kW with cooling, {machines} kW at the machines").format(
        facility=figure(totals.power_kw), machines=figure(totals.it_power_kw)
    )


def hourly_unit(amount: str) -> str:
    """A formatted amount with the unit of hourly costs."""
    return _("{amount} {currency}/h").format(amount=amount, currency=currency())


def fleet_view(plan: Plan, gpu_names: Mapping[str, str]) -> tuple[NodeGroup, ...]:
    """Each group of equal nodes with the workloads on its GPUs."""
    letters = {w.name: letter(i) for i, w in enumerate(plan.workloads)}
    tones = {w.name: tone(i) for i, w in enumerate(plan.workloads)}
    return tuple(_group(plan, load, letters, tones, gpu_names) for load in plan.nodes[:MOST_NODE_GROUPS])


def _group(
    plan: Plan, load: NodeLoad, letters: Mapping[str, str], tones: Mapping[str, str], gpu_names: Mapping[str, str]
) -> NodeGroup:
    line = plan.purchases[load.purchase]
    owners = list(_owners(plan, load, line))[: load.gpus]
    cells = tuple(
        _cell(i, owners[i] if i < len(owners) else None, letters, tones, load.gpus_used) for i in range(load.gpus)
    )
    num_rows = ceil_div(max(load.gpus, 1), CELLS_PER_ROW)
    title = f"{shown(line.node)}: {whole(load.gpus)} × {shown(gpu_names.get(line.gpu, line.gpu))}"
    return NodeGroup(
        title=comma_separated([title, *_hours(plan, load)]),
        count=ngettext("{n} node", "{n} nodes", load.nodes).format(n=whole(load.nodes)),
        use=_use(load),
        holds=(
            *(
                ngettext("{letter}: {n} replica of {workload}", "{letter}: {n} replicas of {workload}", n).format(
                    letter=letters.get(name, "?"), n=whole(n), workload=shown(name)
                )
                for name, n in sorted(load.replicas.items(), key=lambda item: letters.get(item[0], item[0]))
                if n
            ),
            *_cut_lines(load, letters),
        ),
        cells=cells,
        width=str(CELL * min(CELLS_PER_ROW, max(load.gpus, 1))),
        height=str(CELL * num_rows),
    )


def _hours(plan: Plan, load: NodeLoad) -> Sequence[str]:
    """The hours of the day that a load is of; nothing where all are alike."""
    return [shown(h) for h in plan.times_of_day[load.time_index].hours] if plan.times_of_day else []


def _use(load: NodeLoad) -> str:
    """How much of a node is taken."""
    used, gpus = whole(load.gpus_used), whole(load.gpus)
    if not load.ram_bytes or not load.ram_bytes_used:
        return _("{used} of {gpus} GPUs used").format(used=used, gpus=gpus)
    ram = percent(load.ram_bytes_used / load.ram_bytes)
    return _("{used} of {gpus} GPUs used, {ram} of host memory used").format(used=used, gpus=gpus, ram=ram)


def _placed(plan: Plan, load: NodeLoad) -> Mapping[str, Sequence[Placement]]:
    """Where each workload is placed at the time of a load."""
    if plan.periods:
        return {w.name: w.placements for w in plan.periods[load.period].workloads}
    return {w.name: w.placements for w in plan.workloads}


def _owners(plan: Plan, load: NodeLoad, line: PurchaseLine) -> Iterator[str]:
    """The workload on each used GPU of one node, in the order of the workloads; of a GPU that is cut, the first."""
    placed = _placed(plan, load)
    on_parts = {h.workload for c in load.cut for h in c.held}
    for name, placements in placed.items():
        replicas = load.replicas.get(name, 0)
        here = [p for p in placements if p.offer == line.offer] or list(placements)
        if not replicas or not here or name in on_parts:
            continue
        each = [(h.replicas, placements[h.placement]) for h in load.held if h.workload == name]
        for number, placement in each or [(replicas, here[0])]:
            for _n in range(number * ceil_div(placement.gpus_per_replica, placement.nodes_per_replica)):
                yield name
    order = list(placed)
    for c in load.cut:
        owner = min((h.workload for h in c.held), key=order.index)
        yield from [owner] * c.gpus


def _cut_lines(load: NodeLoad, letters: Mapping[str, str]) -> Iterator[str]:
    """Which replicas share GPUs that are cut."""
    for c in load.cut:
        inside = listed([f"{whole(h.replicas)} × {letters.get(h.workload, '?')}" for h in c.held])
        text = ngettext("{n} GPU cut by MIG, each holds {inside}", "{n} GPUs cut by MIG, each holds {inside}", c.gpus)
        yield text.format(n=whole(c.gpus), inside=inside)


def _cell(index: int, owner: str | None, letters: Mapping[str, str], tones: Mapping[str, str], gpus_used: int) -> Cell:
    row, column = divmod(index, CELLS_PER_ROW)
    # A GPU the load counts as used without saying by whom is drawn as used, with a question mark.
    mark = letters.get(owner, "?") if owner is not None else "?" if index < gpus_used else "·"
    return Cell(
        x=str(column * CELL + 2),
        y=str(row * CELL + 2),
        text_x=str(column * CELL + CELL // 2),
        text_y=str(row * CELL + CELL // 2 + 5),
        letter=mark,
        tone=tones.get(owner, "tone-0") if owner is not None else "free",
        label=shown(owner) if owner is not None else _("free"),
    )


def hourly_text(plan: Plan) -> str | None:
    """The hourly cost exactly as the bill of materials prints it; None when a price is unknown."""
    if plan.totals is None or plan.totals.usd_per_hour is None:
        return None
    if plan.periods:
        return money(plan.totals.usd_per_hour)
    return money_sum([line.usd_per_hour or 0.0 for line in plan.purchases], plan.totals.usd_per_hour).total


def purchase_phrase(line: PurchaseLine, gpu_names: Mapping[str, str]) -> str:
    """`2 × p5.48xlarge (16 × NVIDIA H100 SXM 80 GB)`."""
    gpu = shown(gpu_names.get(line.gpu, line.gpu))
    return f"{whole(line.nodes)} × {shown(line.node)} ({whole(line.gpus)} × {gpu})"


def month_text(amount: float | None) -> str:
    """A monthly or yearly amount, whole."""
    return money(amount, 0) if amount is not None else UNKNOWN

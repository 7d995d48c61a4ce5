"""One workload of a plan as ready text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from planner.estimate.document import ConfigValue, LatencyDocument, PerformanceDocument, WorkloadEstimate
from planner.plan.types import Alternative, DemandMet, Placement, Rejected, WorkloadPlan
from planner.report.bars import at, letter, memory_bar, tone
from planner.report.currency import currency
from planner.report.language import _, marked, ngettext
from planner.report.numbers import (
    duration,
    figure,
    money,
    native_digits,
    percent,
    short_number,
    shown,
    told_apart,
    whole,
)
from planner.report.phrases import foreign
from planner.report.types import (
    AlternativeRow,
    Pair,
    PlacementRow,
    RejectedGroup,
    RejectedRow,
    TargetRow,
    WorkloadView,
)
from planner.report.words import (
    BOUND_BY,
    CHECKPOINTING,
    CONFIG,
    HEADROOM,
    OFFLOAD,
    PARALLEL_SHORT,
    TARGETS,
    TargetWords,
    called,
    comma_separated,
    semicolon_separated,
    spoken,
)

MOST_ALTERNATIVES = 3
"""Other ways a page shows; plan.json holds the best few."""
MOST_REJECTED_ROWS = 6
"""Rejected rows of one workload printed; the others stand in rejected.csv."""
MOST_GPUS_NAMED = 12
UNKNOWN = "–"
"""Printed where a figure does not apply or is not known."""
STATES: Mapping[str, tuple[str, str]] = {
    "met": (marked("met"), "✓"),
    "tight": (marked("likely met"), "≈"),
    "missed": (marked("missed"), "✗"),
}


def workload_view(workload: WorkloadPlan, *, index: int, headroom: float) -> WorkloadView:
    """The section of one workload; `headroom` is the share of device memory that has to stay free."""
    targets = tuple(target_row(d, workload) for d in workload.demand_met)
    status = worst_state(targets)
    return WorkloadView(
        id=f"workload-{index + 1}",
        letter=letter(index),
        tone=tone(index),
        name=shown(workload.name),
        mode=_("inference") if workload.mode == "infer" else _("training"),
        model=shown(workload.model),
        params=parameters(workload),
        engine=shown(workload.engine),
        gpu=shown(workload.gpu_name),
        gpus=whole(workload.gpus),
        summary=one_line(workload),
        why=foreign(workload.why, longest=600),
        memory=memory_bar(workload.memory, headroom=headroom, fits=workload.fits, upper_bytes=upper_bytes(workload)),
        targets=targets,
        status=status,
        status_word=_status_word(targets, status),
        bound_by=bound_by(workload.performance.bound_by),
        speed=speed_pairs(workload),
        speed_note=_speed_note(workload.performance),
        config=config_pairs(workload.config),
        money=money_pairs(workload),
        price=price_text(workload),
        headroom=tuple(
            Pair(label=capitalised(HEADROOM, k), value=percent(v)) for k, v in sorted(workload.headroom.items())
        ),
        placements=tuple(_placement(p) for p in workload.placements),
        alternatives=tuple(_alternative(a) for a in workload.alternatives[:MOST_ALTERNATIVES]),
        warnings=tuple(foreign(w, longest=600) for w in workload.warnings),
    )


def parameters(workload: WorkloadEstimate) -> str:
    """Exact parameter count, with the active ones where experts make them fewer."""
    total, exact = short_number(workload.params_total), whole(workload.params_total)
    if workload.params_active == workload.params_total:
        return _("{total} ({exact})").format(total=total, exact=exact)
    return _("{total} ({exact}), {active} active per token").format(
        total=total, exact=exact, active=short_number(workload.params_active)
    )


def capitalised(words: Mapping[str, str], key: str) -> str:
    """The label of a key; a key without one under its own name with a capital letter."""
    return called(words, key) if key in words else shown(spoken(key).capitalize())


def one_line(workload: WorkloadEstimate) -> str:
    """`2 replicas on 4 × NVIDIA L40S, fp8, TP 2, batch 64`; what runs in several ways, all of them; and its hours."""
    placements = workload.placements if isinstance(workload, WorkloadPlan) else ()
    hours = [shown(h) for h in workload.hours] if isinstance(workload, WorkloadPlan) else []
    if len(placements) > 1:
        return comma_separated([_("; ").join(placed_line(p) for p in placements), *hours])
    text = ngettext("{n} replica on {gpus} × {gpu}", "{n} replicas on {gpus} × {gpu}", workload.replicas)
    where = text.format(n=whole(workload.replicas), gpus=whole(workload.gpus), gpu=shown(workload.gpu_name))
    phrase = config_phrase(workload.config)
    return comma_separated([where, *([phrase] if phrase else []), *hours])


def placed_line(p: Placement) -> str:
    """The same of one placement."""
    text = ngettext("{n} replica on {gpus} × {gpu}", "{n} replicas on {gpus} × {gpu}", p.replicas)
    where = text.format(
        n=whole(p.replicas), gpus=whole(p.replicas * p.gpus_per_replica), gpu=shown(p.gpu_name or p.gpu)
    )
    phrase = config_phrase(p.config)
    return comma_separated([where, phrase] if phrase else [where])


def upper_bytes(workload: WorkloadEstimate) -> float | None:
    """Upper end of the interval of the peak on the fullest GPU; None where the document holds none."""
    ends = workload.intervals.get("device_peak_bytes")
    return None if ends is None else float(ends[1])


def config_phrase(config: Mapping[str, ConfigValue]) -> str:
    """A configuration in a few words: precision, how it is split, batch, what is offloaded."""
    words = [_("MIG {part}").format(part=shown(str(config["mig"])))] if config.get("mig") else []
    words += [shown(str(config["precision"]))] if config.get("precision") else []
    kv = config.get("kv_precision")
    if kv and kv != config.get("precision"):
        words.append(_("KV {precision}").format(precision=shown(str(kv))))
    words += [f"{short} {config[k]}" for k, short in PARALLEL_SHORT.items() if config.get(k) not in (None, 1)]
    sharding = config.get("sharding")
    if sharding not in (None, "none"):
        words.append(shown(str(sharding)))
    batch = config.get("micro_batch") or config.get("batch")
    if batch is not None:
        words.append(
            (_("micro-batch {n}") if config.get("micro_batch") else _("batch {n}")).format(n=native_digits(str(batch)))
        )
    if config.get("checkpointing") not in (None, "none"):
        words.append(_("{kind} checkpointing").format(kind=called(CHECKPOINTING, str(config["checkpointing"]))))
    words += offload_words(config.get("offload"))
    return comma_separated(words)


def offload_words(offload: ConfigValue) -> list[str]:
    """What is kept outside the GPU, with its share."""
    if not isinstance(offload, Mapping):
        return []
    return [
        _("{share} of {what}").format(share=percent(share), what=called(OFFLOAD, key))
        for key, share in sorted(offload.items())
        if share
    ]


def config_pairs(config: Mapping[str, ConfigValue]) -> tuple[Pair, ...]:
    """Every setting that has a value, in reading order; what is not split is not listed."""
    keys = [k for k in CONFIG if k in config] + sorted(k for k in config if k not in CONFIG)
    return tuple(
        Pair(label=capitalised(CONFIG, k), value=config_value(config[k]))
        for k in keys
        if config[k] is not None and not (k in PARALLEL_SHORT and config[k] == 1)
    )


def config_value(value: ConfigValue) -> str:
    """One setting as text."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, Mapping):
        return semicolon_separated(offload_words(value)) or _("none")
    if isinstance(value, int):
        return whole(value)
    return figure(value, 6) if isinstance(value, float) else shown(str(value))


def bound_by(key: str) -> str:
    """What limits the speed, in words."""
    return called(BOUND_BY, key)


def speed_pairs(workload: WorkloadEstimate) -> tuple[Pair, ...]:
    """Predicted speed of the whole deployment with its 90 % intervals; what does not apply is left out."""
    p = workload.performance
    rows: list[tuple[str, str, float | None, str]] = [
        (_("Generated tokens"), "output_tokens_per_second", p.output_tokens_per_second, "rate"),
        (_("Tokens"), "tokens_per_second", p.tokens_per_second, "rate"),
        (_("Tokens per GPU"), "tokens_per_second_per_gpu", p.tokens_per_second_per_gpu, "rate"),
        (_("Requests"), "requests_per_second", p.requests_per_second, "rate"),
        (_("Time to first token"), "ttft_s", p.ttft_s, "time"),
        (_("Time per output token"), "tpot_s", p.tpot_s, "time"),
        (_("Prefill"), "prefill_s", p.prefill_s, "time"),
        (_("Step"), "step_s", p.step_s, "time"),
    ]
    pairs = [
        Pair(label=label, value=_speed(value, kind), note=_interval_note(workload.intervals.get(key), kind))
        for label, key, value, kind in rows
        if value is not None
    ]
    if p.mfu is not None:
        pairs.append(Pair(label=_("Share of peak arithmetic (MFU)"), value=percent(p.mfu, 1)))
    return (*pairs, *arrival_pairs(p))


def _speed_note(p: PerformanceDocument) -> str:
    if p.open_loop is None:
        return ""
    return _(
        "Figures at {rate} requests/s are what users see; the others are those of a full batch, the most that the "
        "replicas can do."
    ).format(rate=figure(p.open_loop.requests_per_second))


def arrival_pairs(p: PerformanceDocument) -> Iterator[Pair]:
    """What requests see that come at random, or all at once, where a spec asks for it."""
    if p.open_loop is not None:
        rate, queue = figure(p.open_loop.requests_per_second), p.open_loop
        for label, found in (
            (_("First token at {rate} requests/s"), queue.ttft_s),
            (_("Each further token at {rate} requests/s"), queue.tpot_s),
            (_("Whole answer at {rate} requests/s"), queue.end_to_end_s),
        ):
            if found is not None:
                yield Pair(label=label.format(rate=rate), value=duration(found.mean), note=quantiles(found))
    if p.burst is not None:
        count = whole(p.burst.requests)
        first = p.burst.ttft_s
        label = _("First token in a burst of {n} requests").format(n=count)
        yield Pair(label=label, value=duration(first.mean), note=quantiles(first))
        yield Pair(
            label=_("A burst of {n} requests is answered after").format(n=count), value=duration(p.burst.makespan_s)
        )


def quantiles(found: LatencyDocument) -> str:
    """What half, nine in ten and 99 in 100 requests do not exceed."""
    times = {"p50": duration(found.p50), "p90": duration(found.p90), "p99": duration(found.p99)}
    return _("p50 {p50}, p90 {p90}, p99 {p99}").format(**times)


def _speed(value: float, kind: str) -> str:
    return duration(value) if kind == "time" else _("{n}/s").format(n=figure(value))


def _interval_note(interval: tuple[float, float] | None, kind: str) -> str:
    return "" if interval is None else range_text(_speed(interval[0], kind), _speed(interval[1], kind))


def range_text(low: str, high: str) -> str:
    """Both ends of a range.

    >>> range_text("1.5", "2.5")
    '1.5 to 2.5'
    """
    return _("{low} to {high}").format(low=low, high=high)


def money_pairs(workload: WorkloadEstimate) -> tuple[Pair, ...]:
    """Cost and power of the workload."""
    cost = workload.cost
    rows = [
        (_("Cost"), _in_unit(marked("{amount} {currency}/h"), cost.usd_per_hour) or _("price unknown")),
        (
            _("Per million generated tokens"),
            _in_unit(marked("{amount} {currency}"), cost.usd_per_million_output_tokens),
        ),
        (_("In all"), _in_unit(marked("{amount} {currency}"), cost.usd_total, digits=0)),
        (_("Power"), "" if workload.power_kw is None else _("{n} kW").format(n=figure(workload.power_kw))),
        (
            _("CO2"),
            "" if workload.kg_co2_per_month is None else _("{n} kg/month").format(n=figure(workload.kg_co2_per_month)),
        ),
    ]
    return tuple(Pair(label=label, value=value) for label, value in rows if value)


def _in_unit(text: str, amount_usd: float | None, digits: int = 2) -> str:
    """An amount with its unit; empty where it is not known."""
    return "" if amount_usd is None else _(text).format(amount=money(amount_usd, digits), currency=currency())


def price_text(workload: WorkloadEstimate) -> str:
    """Which price the cost rests on; empty when none is known."""
    return foreign(workload.cost.basis, longest=300) if workload.cost.basis else ""


def target_label(demand: DemandMet, words: TargetWords) -> str:
    """What a target bounds, and of how many requests."""
    name, percentile = shown(words.label), demand.latency_percentile
    if percentile is None:
        return name
    return _("{target}, {percent} % of requests").format(target=name, percent=whole(percentile))


def target_row(demand: DemandMet, workload: WorkloadEstimate) -> TargetRow:
    """One target as a bar with the target line and the prediction interval on one scale."""
    words = _target_words(demand)
    interval = target_interval(demand, workload)
    state = target_state(demand, interval, words)
    low, high = (told_apart(demand.asked, end, significant=3)[1] for end in interval) if interval else ("", "")
    asked, got = told_apart(demand.asked, demand.got, significant=3)
    ends = interval or (demand.got, demand.got)
    scale = 1.15 * max(demand.asked, demand.got, *ends) or 1.0
    word, mark = STATES[state]
    return TargetRow(
        key=shown(demand.target),
        label=target_label(demand, words),
        unit=words.unit,
        relation=_("at least") if words.good == "high" else _("at most"),
        asked=asked,
        got=got,
        interval=range_text(low, high) if interval else "",
        state=state,
        word=_(word),
        mark=mark,
        bar=at(demand.got / scale),
        target_at=at(demand.asked / scale),
        low_at=at(ends[0] / scale),
        high_at=at(ends[1] / scale),
        whisker=at((ends[1] - ends[0]) / scale),
    )


def _target_words(demand: DemandMet) -> TargetWords:
    """What a target is called; where this report does not know it, the side that is good follows from the verdict."""
    known = TARGETS.get(demand.target)
    if known is not None:
        return TargetWords(_(known.label), _(known.unit), known.good)
    is_high = (demand.got >= demand.asked) == demand.met
    return TargetWords(spoken(demand.target), "", "high" if is_high else "low")


RATES = ("requests_per_second", "output_tokens_per_second", "tokens_per_second")
"""Targets that bound a rate."""


def target_interval(demand: DemandMet, workload: WorkloadEstimate) -> tuple[float, float] | None:
    """The 90 % interval of the quantity a target bounds, in the target's own unit.

    What a plan counts on may be a share of the predicted rate (room for bursts), a latency may be that of requests
    that come at random or of a percentile of them, and a time to finish is work over rate; so the relative interval of
    the full batch's figure is laid around what the plan gives.
    """
    latency = {"ttft_ms": "ttft_s", "tpot_ms": "tpot_s"}.get(demand.target)
    if latency is not None:
        ends, whole_batch = workload.intervals.get(latency), getattr(workload.performance, latency)
        return (
            (demand.got * ends[0] / whole_batch, demand.got * ends[1] / whole_batch) if ends and whole_batch else None
        )
    spread = rate_spread(workload, demand.target if demand.target in RATES else "tokens_per_second")
    if spread is None:
        return None
    low, high = spread
    if demand.target in RATES:
        return demand.got * low, demand.got * high
    if demand.target == "deadline_hours" and low > 0:
        return demand.got / high, demand.got / low
    return None


def rate_spread(workload: WorkloadEstimate, key: str) -> tuple[float, float] | None:
    """Both ends of the interval of a rate as shares of the rate; that of all tokens where it has none of its own."""
    for name in (key, "tokens_per_second"):
        rate, ends = getattr(workload.performance, name), workload.intervals.get(name)
        if rate and ends is not None:
            return ends[0] / rate, ends[1] / rate
    return None


def target_state(demand: DemandMet, interval: tuple[float, float] | None, words: TargetWords) -> str:
    """`missed`, `met`, or `tight` where the interval reaches past the target."""
    if not demand.met:
        return "missed"
    if interval is None:
        return "met"
    past = interval[0] < demand.asked if words.good == "high" else interval[1] > demand.asked
    return "tight" if past else "met"


def worst_state(targets: Sequence[TargetRow]) -> str:
    """The state of a workload: that of its worst target; `none` where nothing was asked."""
    states = {t.state for t in targets}
    return next((s for s in ("missed", "tight", "met") if s in states), "none")


def _status_word(targets: Sequence[TargetRow], status: str) -> str:
    num_met = sum(t.state != "missed" for t in targets)
    if status == "none":
        return _("no targets set")
    if status == "missed":
        return _("{met} of {n} targets met").format(met=whole(num_met), n=whole(len(targets)))
    sure, unsure = {
        1: (marked("target met"), marked("target met, though not surely")),
        2: (marked("both targets met"), marked("both targets met, not all surely")),
    }.get(len(targets), (marked("all {n} targets met"), marked("all {n} targets met, not all surely")))
    return _(sure if status == "met" else unsure).format(n=whole(len(targets)))


def _placement(p: Placement) -> PlacementRow:
    return PlacementRow(
        offer=shown(p.offer),
        node=shown(p.node),
        gpu=shown(p.gpu_name or p.gpu),
        replicas=whole(p.replicas),
        gpus_per_replica=whole(p.gpus_per_replica),
        nodes_per_replica=whole(p.nodes_per_replica),
        share=percent(p.share_of_demand),
        config=config_phrase(p.config),
    )


def _alternative(a: Alternative) -> AlternativeRow:
    return AlternativeRow(
        on=f"{whole(a.gpus)} × {shown(a.gpu)}",
        gpu=shown(a.gpu),
        host=shown(a.host),
        gpus=whole(a.gpus),
        config=config_phrase(a.config),
        usd_per_hour=money(a.usd_per_hour) if a.usd_per_hour is not None else UNKNOWN,
        more=_("fleet {amount}").format(amount=signed(a.fleet_usd_per_hour_more))
        if a.fleet_usd_per_hour_more is not None
        else signed(a.usd_per_hour_more),
        power_kw=figure(a.power_kw) if a.power_kw is not None else UNKNOWN,
        why_not=foreign(a.why_not, longest=300),
    )


def signed(amount: float | None) -> str:
    """A difference in money with its sign.

    >>> signed(3.5), signed(-0.25), signed(0.0), signed(None)
    ('+3.50', '−0.25', '±0.00', '–')
    """
    if amount is None:
        return UNKNOWN
    return f"{'+' if amount > 0 else '−' if amount < 0 else '±'}{money(abs(amount))}"


def rejected_group(name: str, rejected: Sequence[Rejected], *, index: int) -> RejectedGroup:
    """Rejected GPUs of one workload; those with the same reason share a row."""
    by_reason: dict[str, list[str]] = {}
    for r in rejected:
        by_reason.setdefault(foreign(r.reason, longest=300), []).append(shown(r.gpu))
    rows = [RejectedRow(gpus=_names(gpus), reason=reason) for reason, gpus in by_reason.items()]
    hidden = len(rows) - MOST_REJECTED_ROWS
    return RejectedGroup(
        workload=shown(name),
        letter=letter(index),
        rows=tuple(rows[:MOST_REJECTED_ROWS]),
        more=_("{n} more in rejected.csv and plan.json.").format(n=whole(hidden)) if hidden > 0 else "",
    )


def _names(names: Sequence[str]) -> str:
    hidden = len(names) - MOST_GPUS_NAMED
    named = comma_separated(names[:MOST_GPUS_NAMED])
    return _("{names} and {n} more").format(names=named, n=whole(hidden)) if hidden > 0 else named

"""The view: what the reports say about a plan."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import InputError
from planner.estimate.document import MemoryDocument
from planner.estimate.types import PARTS
from planner.plan.types import DemandMet, Plan
from planner.report.bars import memory_bar, rounded_parts
from planner.report.numbers import gib_units
from planner.report.types import MemoryBar
from planner.report.view import view_of
from planner.units import GIB, MIB


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", "").removesuffix(" %"))


def memory(parts: dict[str, int], usable_bytes: int) -> MemoryDocument:
    peak = sum(parts.values())
    return MemoryDocument(
        per_gpu_bytes=parts,
        allocated_peak_bytes=peak,
        reserved_peak_bytes=peak,
        device_peak_bytes=peak,
        static_bytes=0,
        usable_bytes=usable_bytes,
        host_bytes=0,
        disk_bytes=0,
        max_batch=1,
        kv_cache_tokens=None,
        phase="decode",
    )


def bar(parts: dict[str, int], usable_bytes: int) -> MemoryBar:
    return memory_bar(memory(parts, usable_bytes), headroom=0.05, fits=sum(parts.values()) <= usable_bytes * 0.95)


sizes = st.integers(0, 40 * GIB)


@given(st.fixed_dictionaries({"weights": sizes, "kv_cache": sizes, "context": sizes}), st.integers(GIB, 192 * GIB))
def test_shown_parts_of_memory_add_up_to_the_shown_peak_and_capacity(parts: dict[str, int], usable: int) -> None:
    view = bar(parts, usable)
    held = [s for s in view.segments if s.key != "free"]
    free = [s for s in view.segments if s.key == "free"]
    assert sum((number(s.value) for s in held if not s.value.startswith("<")), Decimal(0)) == number(view.peak)
    assert (sum(parts.values()) < usable) is bool(free)
    if free:
        assert number(view.peak) + number(free[0].value) == number(view.usable)
        shares = [number(s.share) for s in view.segments if not s.share.startswith("<")]
        assert sum(shares) == 100


keyed = st.dictionaries(st.sampled_from(PARTS), st.integers(0, 80 * GIB), min_size=1)


@given(keyed)
def test_rounded_parts_add_up_and_stay_close(parts: dict[str, int]) -> None:
    total = gib_units(sum(parts.values()), 2)
    units = rounded_parts(list(parts.items()), total, 2)
    assert sum(units) == total
    assert not [u for u, n in zip(units, parts.values(), strict=True) if u and not n]
    assert all(abs(100 * n / GIB - u) < 2 for u, n in zip(units, parts.values(), strict=True))


@given(keyed)
def test_weights_keep_their_own_rounding_while_four_small_parts_can_give_way(parts: dict[str, int]) -> None:
    parts |= dict.fromkeys(("workspace", "context", "fragmentation", "logits", "activations"), GIB // 3)
    total = gib_units(sum(parts.values()), 2)
    units = dict(zip(parts, rounded_parts(list(parts.items()), total, 2), strict=True))
    for key in {"weights", "kv_cache", "optimizer"} & parts.keys():
        assert units[key] == gib_units(parts[key], 2)


@given(sizes, st.integers(GIB, 40 * GIB))
def test_memory_that_does_not_fit_never_looks_equal_to_what_there_is(peak: int, usable: int) -> None:
    view = bar({"weights": peak}, usable)
    assert (view.peak == view.usable) is (peak == usable)
    assert (view.used_share == "100.0 %") is (peak == usable)


def test_one_byte_too_much_shows() -> None:
    view = bar({"weights": 16 * GIB + 100}, 16 * GIB)
    assert view.peak == "16.0000001"
    assert view.usable == "16.0000000"
    assert view.verdict.startswith("Does not fit")


def test_a_part_that_is_there_never_prints_as_zero() -> None:
    values = {s.key: s.value for s in bar({"weights": 10 * GIB, "logits": MIB}, 16 * GIB).segments}
    assert values["logits"] == "<0.01"


def test_bytes_that_no_part_explains_get_a_part_of_their_own() -> None:
    document = memory({"weights": GIB}, 4 * GIB).model_copy(update={"device_peak_bytes": 2 * GIB})
    segments = {s.key: s.value for s in memory_bar(document, headroom=0.0, fits=True).segments}
    assert segments == {"weights": "1.00", "other": "1.00", "free": "2.00"}


def test_the_decision_says_what_to_do_and_what_it_costs(two_workloads: Plan) -> None:
    view = view_of(two_workloads)
    assert view.decision == (
        "Rent 2 × g6e.xlarge (2 × NVIDIA L40S) and 1 × gpu_8x_h100_sxm5 (8 × NVIDIA H100 SXM 80 GB) for 27.64 USD/h, "
        "20,179 USD a month. Every target of the 2 workloads is met; for chat the uncertainty of the prediction "
        "reaches past a target."
    )


def test_the_hourly_cost_is_the_same_text_wherever_it_stands(two_workloads: Plan) -> None:
    view = view_of(two_workloads)
    assert [f.value for f in view.figures if f.label == "Cost per hour"] == ["27.64"]
    assert view.bill.usd_per_hour == "27.64"
    assert "no plan under 27.64 USD/h that runs each workload in one way" in view.proof


def test_lines_of_the_bill_add_up_to_its_total(two_workloads: Plan) -> None:
    bill = view_of(two_workloads).bill
    assert sum(number(r.usd_per_hour) for r in bill.rows) == number(bill.usd_per_hour)
    assert not bill.note


def test_a_total_that_its_lines_do_not_explain_is_said(two_workloads: Plan) -> None:
    assert two_workloads.totals is not None
    totals = two_workloads.totals.model_copy(update={"usd_per_hour": 30.0})
    note = view_of(two_workloads.model_copy(update={"totals": totals})).bill.note
    assert note == "The lines and the totals of this plan differ by 2.36 USD."


def test_an_unknown_price_leaves_no_total(two_workloads: Plan) -> None:
    unpriced = two_workloads.purchases[0].model_copy(update={"usd_per_hour": None, "price_confidence": None})
    plan = two_workloads.model_copy(update={"purchases": (unpriced, two_workloads.purchases[1])})
    bill = view_of(plan).bill
    assert bill.usd_per_hour == "–"
    assert bill.rows[0].is_weak
    assert bill.note == "At least one price is unknown, so there is no total."


def test_a_bound_is_never_rounded_up_above_the_plan(two_workloads: Plan) -> None:
    solver = two_workloads.solver.model_copy(update={"objective": 27.6477})
    assert "no plan under 27.6477 USD/h" in view_of(two_workloads.model_copy(update={"solver": solver})).proof


def test_a_plan_at_its_time_limit_states_its_gap(two_workloads: Plan) -> None:
    solver = two_workloads.solver.model_copy(update={"best_bound": 26.5, "gap": 0.0413})
    view = view_of(two_workloads.model_copy(update={"solver": solver, "status": "feasible"}))
    assert view.status_word == "Best found in the time allowed"
    assert "No plan under 26.50 USD/h exists" in view.proof
    assert "at most 4.1 %" in view.proof


@pytest.mark.parametrize(
    ("target", "asked", "got", "met", "state"),
    [
        ("ttft_ms", 800.0, 412.7, True, "met"),  # the interval ends at 566 ms
        ("ttft_ms", 500.0, 412.7, True, "tight"),
        ("ttft_ms", 400.0, 412.7, False, "missed"),
        ("output_tokens_per_second", 1800.0, 2231.4, True, "tight"),  # from 1,741
        ("output_tokens_per_second", 1700.0, 2231.4, True, "met"),
        ("output_tokens_per_second", 2300.0, 2231.4, False, "missed"),
    ],
)
def test_a_target_inside_the_interval_is_only_likely_met(
    two_workloads: Plan, target: str, asked: float, got: float, met: bool, state: str
) -> None:
    demand = DemandMet(target=target, asked=asked, got=got, met=met)
    chat = two_workloads.workloads[0].model_copy(update={"demand_met": (demand,)})
    view = view_of(two_workloads.model_copy(update={"workloads": (chat,)}))
    assert view.workloads[0].targets[0].state == state
    assert view.workloads[0].status == state


def test_the_interval_of_a_rate_stands_around_what_the_plan_counts_on(two_workloads: Plan) -> None:
    chat = two_workloads.workloads[0].model_copy(
        update={
            "demand_met": (DemandMet(target="requests_per_second", asked=4.0, got=8.716 / 2, met=True),),
            "intervals": {"requests_per_second": (8.716 * 0.9, 8.716 * 1.2)},
        }
    )
    row = view_of(two_workloads.model_copy(update={"workloads": (chat,)})).workloads[0].targets[0]
    assert (row.got, row.interval, row.state) == ("4.36", "3.92 to 5.23", "tight")


def test_a_target_just_met_does_not_look_equal(two_workloads: Plan) -> None:
    demand = DemandMet(target="ttft_ms", asked=800.0, got=799.97, met=True)
    chat = two_workloads.workloads[0].model_copy(update={"demand_met": (demand,)})
    row = view_of(two_workloads.model_copy(update={"workloads": (chat,)})).workloads[0].targets[0]
    assert (row.got, row.asked) == ("799.97", "800")


def test_every_gpu_of_every_node_is_drawn_once(two_workloads: Plan) -> None:
    single, eight = view_of(two_workloads).fleet
    assert [c.letter for c in single.cells] == ["A"]
    assert [c.letter for c in eight.cells] == ["B"] * 4 + ["·"] * 4


def test_facts_of_low_confidence_stand_first_and_are_marked(two_workloads: Plan) -> None:
    facts = view_of(two_workloads).facts
    assert [f.is_weak for f in facts.rows] == [True, True] + [False] * 6
    assert facts.weak == "2 of 8 are of low confidence; they stand first."


def test_gpus_rejected_for_one_reason_share_a_row(two_workloads: Plan) -> None:
    rows = {r.gpus: r.reason for r in view_of(two_workloads).rejected[0].rows}
    assert rows["rtx-4060-8gb, rtx-3050-8gb"] == "weights need 8.5 GiB on one GPU, it has 7.6"


def test_an_infeasible_plan_names_the_clash_and_a_way_out(infeasible: Plan) -> None:
    view = view_of(infeasible)
    assert view.decision == (
        "No plan meets these requirements: fleet.limits.usd_per_hour and workloads.tune.targets.deadline_hours cannot "
        "hold together. One change is enough, for example: raise usd_per_hour from 20 to 27.6422."
    )
    assert view.infeasible is not None
    assert [c.where for c in view.infeasible.conflict] == ["tight.yaml:6:18", "tight.yaml:21:31"]
    assert [s.id for s in view.sections][:2] == ["decision", "infeasible"]


def test_a_workload_without_a_gpu_is_named(unplaceable: Plan) -> None:
    assert "no GPU that is allowed can run huge as asked" in view_of(unplaceable).decision


def test_an_accent_that_is_no_colour_is_refused(two_workloads: Plan) -> None:
    spec = {**two_workloads.inputs.spec, "report": {"accent": "red;background:url(http://x)"}}
    inputs = two_workloads.inputs.model_copy(update={"spec": spec})
    with pytest.raises(InputError, match="write it as #RRGGBB"):
        view_of(two_workloads.model_copy(update={"inputs": inputs}))

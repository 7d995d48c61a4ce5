"""Cost over the horizon: payments in other ways, break-even, and tables whose sums are those of their cells."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.plan.types import Plan, PurchaseLine, WayToPay
from planner.report.economy import Spell, Stream, break_even_months, by_stretch, other_streams, planned_stream
from planner.report.horizon import cash_flow, horizon_view
from planner.report.sections import HorizonView
from planner.report.view import view_of
from planner.units import HOURS_PER_MONTH


def number(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def way(procurement: str, usd_per_hour: float, capex_usd: float = 0.0, energy: float = 0.0) -> WayToPay:
    return WayToPay.model_validate(
        {
            "procurement": procurement,
            "offer": procurement,
            "provider": "p",
            "usd_per_hour": usd_per_hour,
            "capex_usd": capex_usd,
            "energy_usd_per_hour": energy,
            "price_as_of": "2026-01-01",
            "price_confidence": "high",
        }
    )


@pytest.fixture
def rented(two_workloads: Plan) -> Plan:
    """One line at 10 USD/h on demand; the nodes can be bought for 87,600 USD and then cost 2 USD/h of electricity."""
    line = two_workloads.purchases[1].model_copy(
        update={
            "usd_per_hour": 10.0,
            "ways_to_pay": (way("on_demand", 10.0), way("buy", 87_600 / (36 * HOURS_PER_MONTH) + 2.0, 87_600.0, 2.0)),
        }
    )
    assert two_workloads.totals is not None
    totals = two_workloads.totals.model_copy(update={"usd_per_hour": 10.0, "usd_horizon": 10.0 * 36 * HOURS_PER_MONTH})
    return two_workloads.model_copy(update={"purchases": (line,), "totals": totals})


def horizon(plan: Plan) -> HorizonView:
    view = horizon_view(plan)
    assert view is not None
    return view


def test_buying_is_even_when_the_saved_rent_has_paid_for_it(rented: Plan) -> None:
    """8 USD/h saved pay 87,600 USD back in 10,950 hours: 15 months of 730."""
    planned = planned_stream(rented, 36)
    ((kind, bought),) = other_streams(rented, 36)
    assert kind == "buy"
    assert break_even_months(bought, planned) == pytest.approx(15.0)
    view = horizon(rented)
    assert view.lead == "Over 36 months the fleet costs 262,800 USD. Buying would pay off after 15.0 months of use."
    assert [w.break_even for w in view.ways] == ["", "month 15.0"]
    assert view.ways[1].more == "−122,640"  # 87,600 + 36 x 1,460 = 140,160 against 262,800


def test_the_cash_flow_ends_at_the_cost_of_the_decision_page(two_workloads: Plan) -> None:
    view = view_of(two_workloads)
    assert view.horizon is not None
    assert view.horizon.cash.total.cells[-1] in [f.value for f in view.figures]
    assert view.horizon.ways[0].total == view.horizon.cash.total.cells[-1]


amounts = st.floats(0.0, 1e7, allow_nan=False)


@given(st.lists(st.tuples(amounts, amounts, amounts, amounts), min_size=1, max_size=6))
def test_every_sum_of_a_cash_flow_is_that_of_the_shown_amounts(paid: list[tuple[float, float, float, float]]) -> None:
    spells = [
        Spell(first_month=1 + 12 * i, months=12, once_usd=a, rent_usd=b, energy_usd=c, other_usd=d)
        for i, (a, b, c, d) in enumerate(paid)
    ]
    table = cash_flow(spells, sum(sum(row) for row in paid))
    for row in (*table.rows, table.total):
        assert sum(number(c) for c in row.cells[:-1]) == number(row.cells[-1])
    for column in range(len(table.total.cells)):
        assert sum(number(r.cells[column]) for r in table.rows) == number(table.total.cells[column])


def test_the_last_year_of_a_horizon_may_be_short() -> None:
    stream = Stream(once_usd=5.0, rent_usd_per_month=1.0, energy_usd_per_month=0.0, other_usd_per_month=0.0)
    assert [(s.months, s.once_usd, s.rent_usd) for s in by_stretch(stream, 30)] == [
        (12, 5.0, 12.0),
        (12, 0.0, 12.0),
        (6, 0.0, 6.0),
    ]


def test_a_price_that_is_not_known_leaves_no_section(two_workloads: Plan) -> None:
    unpriced: PurchaseLine = two_workloads.purchases[0].model_copy(update={"usd_per_hour": None})
    plan = two_workloads.model_copy(update={"purchases": (unpriced, two_workloads.purchases[1])})
    assert horizon_view(plan) is None
    assert "horizon" not in [s.id for s in view_of(plan).sections]


def test_owned_machines_stay_owned_in_every_way_to_pay(rented: Plan) -> None:
    owned = rented.purchases[0].model_copy(update={"procurement": "owned", "energy_usd_per_hour": 10.0})
    assert list(other_streams(rented.model_copy(update={"purchases": (owned,)}), 36)) == []

"""Plans over periods: payments as they fall due, and demand inside the frame of what the replicas carry."""

from __future__ import annotations

from decimal import Decimal

import pytest

from planner.plan.types import PeriodPlan, PeriodWorkload, Plan
from planner.report.demand import demand_charts
from planner.report.horizon import horizon_view
from planner.report.risks import risk_rows
from planner.report.sensitivity import sensitivity_view
from planner.report.view import view_of
from planner.report.whatif import next_order


def period(index: int, *, factor: float, capacity: float, paid: float, capex: float) -> PeriodPlan:
    chat = PeriodWorkload(
        name="chat", factor=factor, capacity=capacity, replicas=2, gpus=2, placements=(), demand_met=()
    )
    return PeriodPlan(
        index=index,
        months=12,
        first_month=12 * index,
        demand={"chat": factor},
        workloads=(chat,),
        purchases=(0,),
        loads=(),
        usd_per_hour=1.0,
        usd_total=paid,
        cash_usd=paid,
        capex_usd=capex,
        gpus=2,
        nodes=2,
        power_kw=1.0,
        it_power_kw=0.8,
        rack_units=None,
        kg_co2_per_month=100.0 * (index + 1),
    )


@pytest.fixture
def grown(two_workloads: Plan) -> Plan:
    """Demand doubles in the second of three years and stays."""
    years = (
        period(0, factor=1.0, capacity=1.25, paid=1000.4, capex=600.0),
        period(1, factor=2.0, capacity=2.5, paid=500.3, capex=0.0),
        period(2, factor=2.0, capacity=2.0, paid=500.3, capex=0.0),
    )
    return two_workloads.model_copy(update={"periods": years})


def test_payments_follow_the_periods_and_add_up(grown: Plan) -> None:
    view = horizon_view(grown)
    assert view is not None
    assert [r.label for r in view.cash.rows] == ["Months 1 to 12", "Months 13 to 24", "Months 25 to 36"]
    totals = [Decimal(r.cells[-1].replace(",", "")) for r in view.cash.rows]
    assert sum(totals) == Decimal(view.cash.total.cells[-1].replace(",", "")) == 2001
    assert view.plot is not None
    assert len(view.plot.strokes) == 4  # the purchase, then three years


def test_a_bar_of_demand_stands_inside_its_frame(grown: Plan) -> None:
    (chart,) = demand_charts(grown)
    assert [b.used for b in chart.bars] == ["80 %", "80 %", "100 %"]
    assert [b.demand for b in chart.bars] == ["1×", "2×", "2×"]
    for bar in chart.bars:
        assert float(bar.frame_y) <= float(bar.y)
        assert float(bar.y) + float(bar.height) == pytest.approx(float(bar.frame_y) + float(bar.frame_height))


def test_growth_that_is_planned_is_not_guessed_again(grown: Plan) -> None:
    view = sensitivity_view(grown)
    assert view is not None
    assert (view.tornado, view.growth, next_order(grown)) == (None, None, None)
    assert not [r for r in risk_rows(grown, view_of(grown).workloads) if "fills the fleet" in r.text]


def test_carbon_counts_the_fleet_of_each_period(grown: Plan) -> None:
    """12 months at 100, 200 and 300 kg."""
    facility = view_of(grown).facility
    assert facility is not None
    assert dict(facility.figures)["Carbon over the horizon"] == "7.2 t of CO2 in 36 months"

"""Errors a user can meet: their codes, and near matches that help."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner import errors
from planner.errors import PlannerError, UnknownNameError, near_matches


def test_every_error_of_the_planner_has_an_exit_code_of_the_interface() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert len(kinds) > 5
    assert all(issubclass(k, PlannerError) for k in kinds)
    assert {k.__name__: k.exit_code for k in kinds if k.exit_code != 2} == {
        "MismatchError": 1,
        "InfeasibleError": 3,
        "NoPlanInTimeError": 4,
    }


def test_an_unknown_name_offers_what_is_near_whatever_the_case() -> None:
    err = UnknownNameError("GPU", "H100-SXM", ["h100-sxm-80gb", "h200-sxm-141gb", "l4"])
    assert err.nearest[0] == "h100-sxm-80gb"
    assert "nearest: h100-sxm-80gb" in str(err)


def test_an_unknown_name_like_nothing_says_so() -> None:
    assert str(UnknownNameError("GPU", "zzz", ["l4"])) == "unknown GPU 'zzz'; nothing like it is known"


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=20), max_size=20, unique_by=str.casefold))
def test_near_matches_are_known_names_without_repeats(name: str, known: list[str]) -> None:
    found = near_matches(name, tuple(known))
    assert set(found) <= set(known)
    assert len(found) == len(set(found)) <= 3

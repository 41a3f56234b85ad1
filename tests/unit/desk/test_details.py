"""What must be said before a picture is opened, and how a misspelt word is answered."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agency_node.config import User
from agency_node.desk.details import WITHOUT_OFFENCE, check_details, choose_user, parse_life, requester
from federation.errors import Code, LiaisonError
from federation.policy.vocabulary import PURPOSES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"case_number": None}, "case number"),
        ({"case_number": "  "}, "case number"),
        ({"offense": None}, "needs an offence"),
        ({"offense": ""}, "needs an offence"),
        ({"offense": "nibrs:999"}, "not a NIBRS offence"),
        ({"offense": "class:violent"}, "class of offences"),
        ({"offense": "robery"}, "Did you mean `nibrs:120`"),
        ({"purpose": "criminal-investigations"}, "Did you mean `criminal-investigation`"),
        ({"purpose": ""}, "not a purpose"),
        ({"probe_source": "cctv"}, "not a probe source"),
        ({"candidates": 0}, "from 1 to 50"),
        ({"life": timedelta(seconds=1)}, "may wait"),
        ({"life": timedelta(days=31)}, "may wait"),
    ],
)
def test_an_incomplete_request_is_refused_before_anything_leaves(
    details: Any, change: Any, says: str
) -> None:
    with pytest.raises(LiaisonError, match=says) as refusal:
        check_details(replace(details, **change))
    assert refusal.value.code is Code.REQUEST_INVALID


@pytest.mark.parametrize("purpose", sorted(PURPOSES))
def test_only_purposes_that_need_no_crime_go_without_an_offence(details: Any, purpose: str) -> None:
    without = replace(details, purpose=purpose, offense=None)
    if purpose in WITHOUT_OFFENCE:
        assert check_details(without).offense is None
    else:
        with pytest.raises(LiaisonError):
            check_details(without)


def test_a_bare_offence_code_is_completed(details: Any) -> None:
    assert check_details(replace(details, offense="09a")).offense == "nibrs:09A"


@pytest.mark.parametrize(
    ("text", "life"),
    [
        ("90s", timedelta(seconds=90)),
        ("1h", timedelta(hours=1)),
        ("2d", timedelta(days=2)),
        ("5m", timedelta(minutes=5)),
    ],
)
def test_a_duration_is_read(text: str, life: timedelta) -> None:
    assert parse_life(text) == life


@pytest.mark.parametrize("text", ["", "1", "h", "-1h", "1.5h", "1h30m", "1w", "9999999d", "１h"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(LiaisonError):
        parse_life(text)


def test_the_only_user_is_meant_when_none_is_named() -> None:
    one = {"det.ruiz": User(roles=("requester",))}
    assert choose_user(one, None) == "det.ruiz"
    two = {**one, "det.chan": User(roles=("requester", "examiner"))}
    with pytest.raises(LiaisonError, match=r"det\.chan, det\.ruiz"):
        choose_user(two, None)
    with pytest.raises(LiaisonError, match=r"Did you mean `det\.ruiz`"):
        choose_user(two, "det.ruis")
    with pytest.raises(LiaisonError, match="names no user"):
        choose_user({}, None)


def test_the_request_states_roles_and_training_as_the_settings_have_them(node: Any) -> None:
    who = requester("lodi-pd", node.users, "det.ruiz")
    assert (who.roles, who.training_date) == (("requester",), "2026-05-01")

"""The states of a delivery: the table is closed, every state is reachable, endings are final."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.probe.delivery import SENTENCES, TERMINAL, TRANSITIONS, DeliveryState, advance, at_deadline

S = DeliveryState
STARTS = {S.QUEUED, S.REFUSED_BY_HUB, S.AWAITING_APPROVAL}


def test_every_state_has_its_row_and_its_sentence() -> None:
    assert set(TRANSITIONS) == set(SENTENCES) == set(S)


def test_every_state_can_be_reached_from_a_start() -> None:
    reached = set(STARTS)
    while following := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= following
    assert reached == set(S)


@pytest.mark.parametrize("state", S)
def test_not_searched_never_looks_like_no_match(state: DeliveryState) -> None:
    """Only one state says that a gallery was searched; every other ending says that it was not."""
    if state in TERMINAL and state is not S.ANSWERED:
        assert SENTENCES[state].startswith("Not searched")
    else:
        assert "candidate" not in SENTENCES[state]


@given(st.sampled_from(S), st.sampled_from(S))
def test_a_delivery_moves_only_as_the_table_says(state: DeliveryState, following: DeliveryState) -> None:
    if following in TRANSITIONS[state]:
        assert advance(state, following) is following
    else:
        with pytest.raises(LiaisonError) as caught:
            advance(state, following)
        assert caught.value.code is Code.STATE_CONFLICT


@pytest.mark.parametrize("state", S)
def test_the_deadline_ends_every_delivery_and_changes_no_ending(state: DeliveryState) -> None:
    ending = at_deadline(state)
    assert ending in TERMINAL
    if state in TERMINAL:
        assert ending is state
    else:
        assert advance(state, ending) is ending

"""The merged list holds calibrated candidates alone, in the order of their false match rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.desk.merge import expected_false_candidates, is_calibrated, merge
from agency_node.desk.outcome import GalleryOutcome, failed
from federation.errors import Code
from federation.probe.answer import Answer, Candidate, GallerySize
from federation.probe.delivery import DeliveryState

rates = st.floats(min_value=1e-9, max_value=1.0)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    calibrated = draw(st.booleans())
    # Some galleries say that they are calibrated and give no rate to a candidate, or give rates unasked.
    found = draw(st.lists(rates if calibrated and draw(st.booleans()) else st.none() | rates, max_size=5))
    return Answer(
        request="r",
        request_sha256="sha256:" + "0" * 64,
        gallery=f"a{draw(st.integers(0, 9))}/g",
        engine="toy@1",
        gallery_size=GallerySize(subjects=5, templates=draw(st.integers(0, 100_000))),
        calibration={"date": "2026-01-01"} if calibrated else None,
        candidates=tuple(
            Candidate(rank=rank, similarity=draw(st.floats(-1, 1)), fmr=rate)
            for rank, rate in enumerate(found, 1)
        ),
        searched_at="2026-01-01T00:00:00.000Z",
    )


outcomes = st.lists(answers(), max_size=6, unique_by=lambda answer: answer.gallery).map(
    lambda found: [
        GalleryOutcome(answer.gallery, DeliveryState.ANSWERED, "Searched.", answer=answer) for answer in found
    ]
)


@given(outcomes)
def test_no_candidate_of_an_uncalibrated_gallery_is_ever_merged(found: list[GalleryOutcome]) -> None:
    merged = merge(found)
    calibrated = {o.gallery for o in found if o.answer is not None and is_calibrated(o.answer)}
    assert {ranked.gallery for ranked in merged.by_fmr} <= calibrated
    assert all(ranked.candidate.fmr is not None for ranked in merged.by_fmr)
    assert merged.apart.keys().isdisjoint(calibrated)


@given(outcomes)
def test_every_candidate_is_shown_once_and_the_rarest_chance_match_first(found: list[GalleryOutcome]) -> None:
    merged = merge(found)
    shown = len(merged.by_fmr) + sum(len(apart) for apart in merged.apart.values())
    assert shown == sum(len(outcome.candidates) for outcome in found)
    rates = [ranked.candidate.fmr or 0 for ranked in merged.by_fmr]
    assert rates == sorted(rates)
    assert merge(list(reversed(found))).by_fmr == merged.by_fmr


@given(answers())
def test_the_expected_number_of_false_candidates_is_never_more_than_the_list(answer: Answer) -> None:
    assert 0 <= expected_false_candidates(answer) <= len(answer.candidates)


def test_the_expected_number_is_the_templates_times_the_weakest_rate() -> None:
    found = tuple(Candidate(rank=n, similarity=0.5, fmr=1e-4 * n) for n in (1, 2, 3))
    answer = Answer(
        request="r",
        request_sha256="sha256:" + "0" * 64,
        gallery="a/g",
        engine="toy@1",
        gallery_size=GallerySize(subjects=5000, templates=5000),
        calibration={},
        candidates=found,
        searched_at="x",
    )
    assert expected_false_candidates(answer) == pytest.approx(1.5)


def test_a_gallery_that_was_not_searched_is_in_neither_part() -> None:
    merged = merge([failed("a/g", Code.SEAL_BROKEN)])
    assert (merged.by_fmr, merged.apart, merged.expected_false) == ((), {}, {})

"""One list from many galleries, by calibrated evidence alone.

Similarities of different galleries and engines do not compare, false match rates do. So candidates are merged by
FMR when their gallery is calibrated; the others stay apart, gallery by gallery. Source: DESIGN §9; ISO/IEC 19795-1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agency_node.desk.outcome import GalleryOutcome
from federation.probe.answer import Answer, Candidate


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with the gallery that it comes from."""

    gallery: str
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Merged:
    """`by_fmr`: candidates of calibrated galleries, the rarest chance match first. `apart`: every other answered
    gallery with its own list. `expected_false`: per calibrated gallery, about how many of its candidates would
    appear even if the person is not in it."""

    by_fmr: tuple[Ranked, ...]
    apart: dict[str, tuple[Candidate, ...]]
    expected_false: dict[str, float]


def merge(outcomes: Iterable[GalleryOutcome]) -> Merged:
    """Merge what was answered. Ties keep a stable order: FMR, gallery, rank."""
    together: list[Ranked] = []
    apart: dict[str, tuple[Candidate, ...]] = {}
    expected: dict[str, float] = {}
    for outcome in outcomes:
        if outcome.answer is None:
            continue
        if is_calibrated(outcome.answer):
            together += [Ranked(outcome.gallery, candidate) for candidate in outcome.candidates]
            expected[outcome.gallery] = expected_false_candidates(outcome.answer)
        else:
            apart[outcome.gallery] = outcome.candidates
    return Merged(tuple(sorted(together, key=_order)), apart, expected)


def is_calibrated(answer: Answer) -> bool:
    """Whether the gallery says how it was calibrated and every candidate carries an FMR."""
    return answer.calibration is not None and all(c.fmr is not None for c in answer.candidates)


def expected_false_candidates(answer: Answer) -> float:
    """About how many non-mated candidates a list with this weakest FMR holds: templates searched times that FMR,
    never more than the list is long."""
    weakest = max((c.fmr for c in answer.candidates if c.fmr is not None), default=0.0)
    return min(float(len(answer.candidates)), answer.gallery_size.templates * weakest)


def _order(ranked: Ranked) -> tuple[float, str, int]:
    assert ranked.candidate.fmr is not None
    return (ranked.candidate.fmr, ranked.gallery, ranked.candidate.rank)

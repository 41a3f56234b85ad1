"""The catalogue of errors is whole: every code is mapped, to a real gRPC status and an exit code of its band."""

from __future__ import annotations

import grpc
import pytest

from federation.errors import CATALOGUE, Code, LiaisonError

BANDS = (
    range(10, 20),
    range(20, 30),
    range(30, 40),
    range(40, 50),
    range(50, 60),
    range(60, 70),
    range(70, 71),
)


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    assert set(CATALOGUE) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_an_entry_says_what_happened_and_what_to_do_next(code: Code) -> None:
    entry = CATALOGUE[code]
    assert hasattr(grpc.StatusCode, entry.status)
    assert entry.status != "OK"
    assert any(entry.exit in band for band in BANDS)
    assert entry.says.endswith(".")
    assert entry.next.endswith(".")


@pytest.mark.parametrize("code", Code)
def test_an_error_shows_its_sentence_its_detail_and_the_next_step(code: Code) -> None:
    error = LiaisonError(code, "A detail.")
    assert error.sentence == f"{CATALOGUE[code].says} A detail."
    assert error.diagnostics().splitlines() == [error.sentence, CATALOGUE[code].next]
    assert error.as_json() == {"error": code.value, "says": error.sentence, "next": CATALOGUE[code].next}

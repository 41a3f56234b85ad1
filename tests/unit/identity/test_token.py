"""Join tokens: read back whole, refused in part, and never shown by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.identity.token import JoinToken

TOKEN = JoinToken(
    region="delta",
    agency="mill-creek-pd",
    join="127.0.0.1:7444",
    broker="127.0.0.1:7443",
    root="sha256:" + "ab" * 32,
    expires="2026-11-22T00:00:00.000Z",
    secret="s3cret-s3cret",
)


def test_a_token_reads_back_as_it_was_made() -> None:
    assert JoinToken.decode(TOKEN.encode()) == TOKEN


def test_a_token_that_a_mail_program_wrapped_is_still_read() -> None:
    line = TOKEN.encode()
    assert JoinToken.decode(f"  {line[:50]}\n {line[50:]}\n") == TOKEN


def test_a_token_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(TOKEN)
    assert "s3cret" not in TOKEN.secret_sha256


@given(st.integers(0, len(TOKEN.encode()) - 1))
def test_a_cut_token_is_refused(length: int) -> None:
    with pytest.raises(LiaisonError) as caught:
        JoinToken.decode(TOKEN.encode()[:length])
    assert caught.value.code is Code.TOKEN_INVALID


@given(st.text(max_size=200))
def test_no_text_makes_reading_fail_in_another_way(text: str) -> None:
    with pytest.raises(LiaisonError) as caught:
        JoinToken.decode("liaison-join-v1." + text)
    assert caught.value.code is Code.TOKEN_INVALID

"""Canonical JSON and times: one value, one set of bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical import b64, canonical, parse, stamp, unb64, unstamp
from federation.errors import LiaisonError


def test_the_example_of_rfc_8785_is_written_as_the_rfc_writes_it() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\x0f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(value) == expected.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60, b"bytes", {1: 2}, object()])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(LiaisonError):
        canonical(value)


@pytest.mark.parametrize(
    "data", [b"", b"{", b'{"a": 1}', b'{"b":1,"a":2}', b"1.0", b'"\\u0041"', b"[" * 100_000]
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(LiaisonError):
        parse(data)


@given(st.binary(max_size=40))
def test_bytes_have_one_way_of_being_written_in_base64(data: bytes) -> None:
    assert unb64(b64(data)) == data


@pytest.mark.parametrize("text", ["AAB=", "AAE", "AA==AA==", "AA=A", "A A=", "AA==\n", "é", "A"])
def test_other_base64_of_the_same_bytes_is_refused(text: str) -> None:
    """`AAB=` decodes to the two bytes of `AAA=`: its last bits are dropped, so a flipped one would go unseen."""
    with pytest.raises(LiaisonError):
        unb64(text)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(-12, 12))  # noqa: DTZ001
def test_a_stamp_names_the_same_millisecond_in_every_zone(at: datetime, hours: int) -> None:
    aware = at.replace(tzinfo=timezone(timedelta(hours=hours)))
    read = unstamp(stamp(aware))
    assert read.tzinfo is UTC
    assert timedelta(0) <= aware - read < timedelta(milliseconds=1)

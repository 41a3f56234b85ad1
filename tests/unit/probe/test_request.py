"""The probe request: one meaning has one set of bytes, and what is not well formed is refused by name."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.canonical import canonical, stamp
from federation.errors import Code, LiaisonError
from federation.probe.request import ProbeRequest

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def decode(fields: dict[str, Any]) -> ProbeRequest:
    return ProbeRequest.decode(canonical(fields))


def test_a_request_reads_back_as_the_same_bytes(fields: dict[str, Any]) -> None:
    assert decode(fields).encode() == canonical(fields)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"surprise": 1}, "surprise"),
        ({"liaison": "probe-request/v2"}, "liaison"),
        ({"id": "A" * 32}, "id"),
        ({"purpose": ""}, "purpose"),
        ({"purpose": 5}, "purpose"),
        ({"galleries": []}, "galleries"),
        ({"galleries": ["b/x", "a/x"]}, "galleries"),
        ({"galleries": ["a/x", "a/x"]}, "galleries"),
        ({"galleries": ["a"]}, "galleries"),
        ({"galleries": ["../x"]}, "galleries"),
        ({"galleries": [f"a{n:03d}/x" for n in range(201)]}, "galleries"),
        ({"candidates": 51}, "candidates"),
        ({"candidates": 0}, "candidates"),
        ({"candidates": True}, "candidates"),
        ({"policy_digest": "sha256:00"}, "policy_digest"),
        ({"expires_at": stamp(NOW)}, "expire"),
        ({"expires_at": stamp(NOW + timedelta(days=31))}, "expire"),
        ({"created_at": "yesterday"}, "time"),
        ({"created_at": "2026-11-21T12:00:00"}, "zone"),
        ({"answer_key": "AAAA"}, "length"),
        ({"answer_key": "***"}, "base64"),
    ],
)
def test_what_is_not_well_formed_is_refused_by_name(
    fields: dict[str, Any], change: dict[str, Any], place: str
) -> None:
    with pytest.raises(LiaisonError) as caught:
        decode(fields | change)
    assert caught.value.code is Code.REQUEST_INVALID
    assert place in caught.value.sentence


@pytest.mark.parametrize(
    "field", ["id", "requester", "purpose", "probe", "galleries", "expires_at", "policy_digest"]
)
def test_a_missing_field_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(LiaisonError) as caught:
        decode({name: value for name, value in fields.items() if name != field})
    assert field in caught.value.sentence


def test_the_same_request_in_other_bytes_is_refused(fields: dict[str, Any]) -> None:
    data = canonical(fields)
    for other in (b" " + data, data.replace(b":", b": ", 1), data + b"\n", b'{"id":"x",' + data[1:]):
        with pytest.raises(LiaisonError):
            ProbeRequest.decode(other)


@pytest.mark.parametrize(
    ("shift", "fresh", "later"),
    [
        (timedelta(minutes=-61), Code.CLOCK_SKEW, Code.CLOCK_SKEW),
        (timedelta(minutes=-6), Code.CLOCK_SKEW, Code.CLOCK_SKEW),
        (timedelta(minutes=-4), None, None),
        (timedelta(0), None, None),
        (timedelta(minutes=4), None, None),
        (timedelta(minutes=6), Code.CLOCK_SKEW, None),
        (timedelta(minutes=60), Code.REQUEST_EXPIRED, Code.REQUEST_EXPIRED),
    ],
)
def test_clocks_may_differ_by_five_minutes_and_a_request_may_wait_until_its_deadline(
    fields: dict[str, Any], shift: timedelta, fresh: Code | None, later: Code | None
) -> None:
    request = decode(fields)
    for check, code in ((request.check_fresh, fresh), (request.check_clock, later)):
        if code is None:
            check(NOW + shift)
            continue
        with pytest.raises(LiaisonError) as caught:
            check(NOW + shift)
        assert caught.value.code is code


@given(st.binary(max_size=200))
def test_no_bytes_make_decoding_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(LiaisonError):
        ProbeRequest.decode(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
)


@given(value=JSON, name=st.sampled_from(sorted(ProbeRequest.model_fields)))
def test_any_json_in_any_field_is_taken_whole_or_refused(
    fields: dict[str, Any], value: Any, name: str
) -> None:
    changed = fields | {name: value}
    try:
        request = decode(changed)
    except LiaisonError:
        return
    assert request.encode() == canonical(changed)

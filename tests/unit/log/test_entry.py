"""Entries have one form, and commitments bind and hide."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.log import EntryType, LogEntry, commit, open_commitment, parse_entry

AT = datetime(2026, 3, 1, 9, 30, 0, 123_456, tzinfo=UTC)
ENTRY = LogEntry(EntryType.REQUEST, AT, {"purpose": "criminal-investigation", "asked": ["b", "a"]}, "0f" * 32)
CANONICAL = (
    b'{"at":"2026-03-01T09:30:00.123Z","commitment":"' + b"0f" * 32 + b'","facts":{"asked":["b","a"],'
    b'"purpose":"criminal-investigation"},"liaison":"entry/v1","type":"request"}'
)

scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)


def test_an_entry_is_written_in_canonical_form_and_read_back() -> None:
    assert ENTRY.encode() == CANONICAL
    assert parse_entry(CANONICAL) == ENTRY


def test_a_time_in_another_zone_is_written_in_utc() -> None:
    local = AT.astimezone(timezone(timedelta(hours=-8)))
    assert LogEntry(EntryType.ANSWER, local) == LogEntry(EntryType.ANSWER, AT)


@settings(deadline=None)
@given(
    st.sampled_from(EntryType),
    st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds
    st.dictionaries(st.text(max_size=10), values, max_size=5),
    st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
)
def test_every_entry_reads_back(
    kind: EntryType, at: datetime, facts: dict[str, Any], commitment: str | None
) -> None:
    entry = LogEntry(kind, at, facts, commitment)
    assert parse_entry(entry.encode()) == entry


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 60_000,
        CANONICAL + b"\n",
        b" " + CANONICAL,
        CANONICAL.replace(b"request", b"rumour"),
        CANONICAL.replace(b"entry/v1", b"entry/v2"),
        CANONICAL.replace(b"0f" * 32, b"0F" * 32),
        CANONICAL.replace(b"0f" * 32, b"0f" * 31),
        CANONICAL.replace(b".123Z", b".123456Z"),
        CANONICAL.replace(b".123Z", b"Z"),
        CANONICAL.replace(b".123Z", b".123+00:00"),
        CANONICAL.replace(b"2026-03-01T09:30:00.123Z", b"yesterday"),
        CANONICAL.replace(b'"2026-03-01T09:30:00.123Z"', b"5"),
        CANONICAL.replace(b'"request"', b'["request"]'),
        CANONICAL.replace(b'["b","a"]', b"NaN"),
        CANONICAL.replace(b'["b","a"]', b"1.0"),
        CANONICAL.replace(b'["b","a"]', b"9" * 5000),
        CANONICAL.replace(b'["b","a"]', b'"\\ud800"'),
        CANONICAL.replace(b'"liaison"', b'"extra":1,"liaison"'),
        CANONICAL.replace(b'{"asked":["b","a"],"purpose":"criminal-investigation"}', b"[]"),
        CANONICAL.replace(b'"asked":["b","a"],', b'"asked":1,"asked":["b","a"],'),
        CANONICAL.decode().encode("utf-16"),
    ],
)
def test_anything_but_the_canonical_form_is_refused(data: bytes) -> None:
    with pytest.raises(LiaisonError) as raised:
        parse_entry(data)
    assert raised.value.code is Code.LOG_DAMAGED


def test_an_entry_that_a_bundle_cannot_hold_is_neither_written_nor_read() -> None:
    with pytest.raises(LiaisonError) as raised:
        LogEntry(EntryType.REQUEST, AT, {"x": "y" * 65_536}).encode()
    assert raised.value.code is Code.REQUEST_INVALID
    with pytest.raises(LiaisonError):
        parse_entry(CANONICAL.replace(b'["b","a"]', b'"' + b"y" * 65_536 + b'"'))


@pytest.mark.parametrize("value", [{1, 2}, float("nan"), 2**60, "\ud800", {1: 2}, object()])
def test_facts_that_are_not_json_are_refused(value: Any) -> None:
    with pytest.raises(LiaisonError) as raised:
        LogEntry(EntryType.REQUEST, AT, {"x": value}).encode()
    assert raised.value.code is Code.REQUEST_INVALID


def test_facts_nested_too_deeply_are_refused() -> None:
    nested: Any = []
    for _ in range(5_000):
        nested = [nested]
    with pytest.raises(LiaisonError):
        LogEntry(EntryType.REQUEST, AT, {"x": nested}).encode()


def test_a_time_without_a_zone_and_a_commitment_that_is_none_are_refused() -> None:
    with pytest.raises(LiaisonError):
        LogEntry(EntryType.REQUEST, AT.replace(tzinfo=None))
    with pytest.raises(LiaisonError):
        LogEntry(EntryType.REQUEST, AT, {}, "zz" * 32)


@settings(deadline=None)
@given(st.binary(max_size=100), st.binary(min_size=32, max_size=32), st.binary(max_size=100))
def test_a_commitment_opens_to_its_payload_and_salt_alone(payload: bytes, salt: bytes, other: bytes) -> None:
    commitment = commit(payload, salt)
    assert open_commitment(commitment, payload, salt)
    assert open_commitment(commitment, other, salt) is (other == payload)
    assert not open_commitment(commitment, payload, bytes([salt[0] ^ 1]) + salt[1:])
    assert not open_commitment(commit(payload + b"\x00", salt), payload, salt)


def test_a_commitment_can_be_recomputed_with_sha256sum() -> None:
    salt = bytes(range(32))
    assert (
        commit(b"payload", salt)
        == hashlib.sha256(b"liaison log commitment v1\n" + salt + b"payload").hexdigest()
    )


def test_a_salt_cannot_borrow_bytes_from_the_payload() -> None:
    salt = bytes(range(32))
    with pytest.raises(LiaisonError):
        commit(b"\x00payload", salt[:31])
    assert not open_commitment(commit(b"payload", salt), salt[31:] + b"payload", salt[:31])
    assert not open_commitment("not hex", b"payload", salt)

"""What a node lets a hub tell it: a hub that is taken over tries each rule in turn."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.log import (
    Checkpoint,
    NoteSigner,
    TrustedLog,
    append_nodes,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    sign_checkpoint,
)

ORIGIN = "hub.example/delta/log"
KEY = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))


class Hub:
    """A hub's log of so many entries; `fork` changes all entries from there on."""

    def __init__(self, size: int, fork: int | None = None) -> None:
        self.entries = [b"entry %d" % n + b"!" * (fork is not None and n >= fork) for n in range(size)]
        added = append_nodes(0, [leaf_hash(entry) for entry in self.entries], self.read)
        self.nodes = {(level, index): digest for level, index, digest in added}

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def note(self, size: int, signer: NoteSigner = KEY, origin: str = ORIGIN) -> bytes:
        return sign_checkpoint(Checkpoint(origin, size, root(size, self.read)), signer)

    def proof(self, first: int, second: int) -> list[bytes]:
        return consistency_proof(first, second, self.read)


HUB = Hub(40)


def node_at(size: int) -> TrustedLog:
    trusted = TrustedLog(ORIGIN, KEY.verifier_key())
    trusted.update(HUB.note(size), [])
    return trusted


def refuses(trusted: TrustedLog, code: Code, note: bytes, proof: list[bytes]) -> None:
    before = trusted.to_json()
    with pytest.raises(LiaisonError) as raised:
        trusted.update(note, proof)
    assert raised.value.code is code
    assert trusted.to_json() == before


def test_the_first_checkpoint_is_taken_on_the_signature_alone() -> None:
    trusted = TrustedLog(ORIGIN, KEY.verifier_key())
    assert trusted.last is None
    assert trusted.last_note is None
    assert trusted.update(HUB.note(7), []).size == 7
    assert trusted.last_note == HUB.note(7)


def test_every_way_forward_is_followed() -> None:
    for first in range(41):
        for second in range(first, 41):
            trusted = node_at(first)
            assert trusted.update(HUB.note(second), HUB.proof(first, second)) == trusted.last


def test_the_same_checkpoint_may_come_again() -> None:
    trusted = node_at(7)
    assert trusted.update(HUB.note(7), []).size == 7


def test_a_log_that_shrinks_is_refused() -> None:
    refuses(node_at(20), Code.CHECKPOINT_INCONSISTENT, HUB.note(19), [])
    refuses(node_at(20), Code.CHECKPOINT_INCONSISTENT, HUB.note(19), HUB.proof(19, 20))
    refuses(node_at(20), Code.CHECKPOINT_INCONSISTENT, HUB.note(0), [])


def test_a_second_root_for_the_same_size_is_refused() -> None:
    refuses(node_at(20), Code.CHECKPOINT_INCONSISTENT, Hub(20, fork=3).note(20), [])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 38), st.data())
def test_a_log_that_rewrote_history_is_refused_with_any_proof_it_can_make(
    seen: int, data: st.DataObject
) -> None:
    grown = data.draw(st.integers(seen + 1, 40))
    evil = Hub(40, fork=data.draw(st.integers(0, seen - 1)))
    trusted = node_at(seen)
    for proof in (evil.proof(seen, grown), HUB.proof(seen, grown), [], evil.proof(grown, 40)):
        refuses(trusted, Code.CHECKPOINT_INCONSISTENT, evil.note(grown), proof)


def test_growth_without_its_proof_is_refused() -> None:
    trusted = node_at(20)
    proof = HUB.proof(20, 33)
    for wrong in ([], proof[:-1], [*proof, proof[0]], [proof[0][:31], *proof[1:]], HUB.proof(19, 33)):
        refuses(trusted, Code.CHECKPOINT_INCONSISTENT, HUB.note(33), wrong)


def test_a_proof_before_the_first_checkpoint_is_refused() -> None:
    refuses(
        TrustedLog(ORIGIN, KEY.verifier_key()), Code.CHECKPOINT_INCONSISTENT, HUB.note(7), HUB.proof(3, 7)
    )


def test_a_checkpoint_that_the_log_did_not_sign_is_refused() -> None:
    stranger = NoteSigner(ORIGIN, Ed25519PrivateKey.from_private_bytes(b"\x09" * 32))
    refuses(node_at(7), Code.CHECKPOINT_INVALID, HUB.note(9, stranger), HUB.proof(7, 9))
    refuses(node_at(7), Code.CHECKPOINT_INVALID, HUB.note(9).replace(b"\n9\n", b"\n8\n"), HUB.proof(7, 8))
    refuses(node_at(7), Code.CHECKPOINT_INVALID, b"garbage", [])


def test_the_checkpoint_of_another_log_under_the_same_key_is_refused() -> None:
    refuses(node_at(7), Code.CHECKPOINT_INVALID, HUB.note(9, origin="hub.example/other"), HUB.proof(7, 9))


def test_an_older_checkpoint_is_accepted_but_does_not_become_the_last() -> None:
    trusted = node_at(30)
    before = trusted.to_json()
    assert trusted.accept_older(HUB.note(11), HUB.proof(11, 30)).size == 11
    assert trusted.accept_older(HUB.note(30), []).size == 30
    assert trusted.to_json() == before


@pytest.mark.parametrize(
    ("note", "proof"),
    [
        (HUB.note(11), []),
        (HUB.note(11), HUB.proof(12, 30)),
        (Hub(40, fork=5).note(11), HUB.proof(11, 30)),
        (HUB.note(31), HUB.proof(30, 31)),
    ],
    ids=["no proof", "another proof", "another history", "newer than the last"],
)
def test_an_older_checkpoint_that_is_not_proven_is_refused(note: bytes, proof: list[bytes]) -> None:
    with pytest.raises(LiaisonError) as raised:
        node_at(30).accept_older(note, proof)
    assert raised.value.code is Code.CHECKPOINT_INCONSISTENT


def test_no_older_checkpoint_is_accepted_before_there_is_a_last() -> None:
    with pytest.raises(LiaisonError) as raised:
        TrustedLog(ORIGIN, KEY.verifier_key()).accept_older(HUB.note(11), [])
    assert raised.value.code is Code.CHECKPOINT_INCONSISTENT


def test_a_request_that_is_not_in_the_log_is_not_opened() -> None:
    trusted = node_at(30)
    checkpoint = trusted.accept_older(HUB.note(11), HUB.proof(11, 30))
    proof = inclusion_proof(4, 11, HUB.read)
    trusted.check_inclusion(b"entry 4", 4, checkpoint, proof)
    for entry, index in ((b"entry 5", 4), (b"entry 4", 5), (b"off the books", 4)):
        with pytest.raises(LiaisonError) as raised:
            trusted.check_inclusion(entry, index, checkpoint, proof)
        assert raised.value.code is Code.PROOF_INVALID


def test_the_state_survives_a_restart() -> None:
    for trusted in (node_at(30), TrustedLog(ORIGIN, KEY.verifier_key())):
        restored = TrustedLog.from_json(trusted.to_json())
        assert restored.to_json() == trusted.to_json()
        assert restored.last == trusted.last
    refuses(TrustedLog.from_json(node_at(30).to_json()), Code.CHECKPOINT_INCONSISTENT, HUB.note(20), [])


def test_a_state_whose_checkpoint_was_changed_is_refused() -> None:
    state = json.loads(node_at(30).to_json())
    state["checkpoint"] = state["checkpoint"].replace("\n30\n", "\n20\n")
    with pytest.raises(LiaisonError) as raised:
        TrustedLog.from_json(json.dumps(state))
    assert raised.value.code is Code.CHECKPOINT_INVALID


@pytest.mark.parametrize(
    "change",
    [
        {"liaison": "trusted-log/v2"},
        {"origin": 5},
        {"log_key": None},
        {"log_key": "x"},
        {"checkpoint": 5},
        {"more": 1},
    ],
)
def test_a_state_that_is_none_is_refused(change: dict[str, Any]) -> None:
    state = json.loads(node_at(30).to_json())
    with pytest.raises(LiaisonError) as raised:
        TrustedLog.from_json(json.dumps({**state, **change}))
    assert raised.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "[" * 60_000])
def test_a_file_that_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(LiaisonError) as raised:
        TrustedLog.from_json(text)
    assert raised.value.code is Code.CONFIG_INVALID

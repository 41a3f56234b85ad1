"""Checkpoints and cosignatures: the formats of C2SP, and who may say what."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federation.errors import Code, LiaisonError
from federation.log import (
    Checkpoint,
    KeyType,
    NoteSigner,
    add_signatures,
    cosign,
    empty_root,
    open_checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    verify_cosignatures,
)
from federation.log.note import parse_note, sign_note

ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
# The example of c2sp.org/tlog-cosignature; the keys of it are not published.
EXAMPLE = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501 - as published
CHECKPOINT = Checkpoint("example.com/behind-the-sofa", 20852163, ROOT)
NOON = 1_772_366_400


def signer(name: str, seed: int) -> NoteSigner:
    return NoteSigner(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


LOG = signer("example.com/behind-the-sofa", 1)
WITNESS_A, WITNESS_B = signer("witness.example.com/a", 2), signer("witness.example.com/b", 3)
KEYS = [witness.verifier_key(KeyType.COSIGNATURE) for witness in (WITNESS_A, WITNESS_B)]
NOTE = sign_checkpoint(CHECKPOINT, LOG)


def code_of(act: object, *arguments: object) -> Code:
    with pytest.raises(LiaisonError) as raised:
        act(*arguments)  # type: ignore[operator]
    return raised.value.code


def test_the_published_example_is_read() -> None:
    note = parse_note(EXAMPLE.encode())
    assert parse_checkpoint(note.text) == CHECKPOINT
    log, witness = note.signatures
    assert len(log.value) == 64
    assert len(witness.value) == 72
    assert int.from_bytes(witness.value[:8]) == 1679315147


def test_a_signed_checkpoint_opens() -> None:
    assert open_checkpoint(NOTE, CHECKPOINT.origin, LOG.verifier_key()) == CHECKPOINT
    assert NOTE.decode().startswith("example.com/behind-the-sofa\n20852163\nCsUYapGG")


def test_an_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint("log.example", 0, empty_root())
    note = sign_checkpoint(empty, signer("log.example", 1))
    assert open_checkpoint(note, "log.example", signer("log.example", 1).verifier_key()) == empty


def test_extension_lines_are_kept_and_signed() -> None:
    extended = Checkpoint("log.example", 3, ROOT, ("one", "two"))
    note = sign_checkpoint(extended, LOG)
    assert open_checkpoint(note, "log.example", LOG.verifier_key()) == extended
    assert code_of(open_checkpoint, note.replace(b"two", b"too"), "log.example", LOG.verifier_key()) is (
        Code.CHECKPOINT_INVALID
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log.example\n3\n",
        "\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n03\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n-3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n+3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n٣\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n9223372036854775808\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n" + "9" * 5000 + "\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2J=\n",
        "log.example\n3\nCsUYapGGPo4dkMgIAUqom_Xajj7h2fB2MPA3j2jxq2I=\n",
        "log.example\n3\nAAAA\n",
        "log.example\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n",
        "log.example\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "log.example\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_a_malformed_text_is_no_checkpoint(text: str) -> None:
    assert code_of(parse_checkpoint, text) is Code.CHECKPOINT_INVALID


def test_a_note_that_the_log_signed_but_that_is_no_checkpoint_is_refused() -> None:
    note = sign_note("hello\n", LOG)
    assert code_of(open_checkpoint, note, "hello", LOG.verifier_key()) is Code.CHECKPOINT_INVALID


def test_the_checkpoint_of_another_log_is_refused() -> None:
    assert code_of(open_checkpoint, NOTE, "example.com/other", LOG.verifier_key()) is Code.CHECKPOINT_INVALID


def test_a_checkpoint_signed_by_somebody_else_is_refused() -> None:
    forged = sign_checkpoint(CHECKPOINT, signer(LOG.name, 9))
    assert code_of(open_checkpoint, forged, CHECKPOINT.origin, LOG.verifier_key()) is Code.CHECKPOINT_INVALID


def test_cosignatures_are_counted_with_their_times() -> None:
    note = add_signatures(NOTE, [cosign(NOTE, WITNESS_A, NOON), cosign(NOTE, WITNESS_B, NOON + 60)])
    assert verify_cosignatures(note, KEYS) == [(WITNESS_A.name, NOON), (WITNESS_B.name, NOON + 60)]
    assert verify_cosignatures(note, KEYS[1:]) == [(WITNESS_B.name, NOON + 60)]
    assert open_checkpoint(note, CHECKPOINT.origin, LOG.verifier_key()) == CHECKPOINT


def test_a_cosignature_signs_the_header_the_time_and_the_text() -> None:
    line = cosign(NOTE, WITNESS_A, 1679315147)
    blob = base64.b64decode(line.split(b" ")[2])
    message = b"cosignature/v1\ntime 1679315147\n" + CHECKPOINT.text.encode()
    assert blob[:4] == KEYS[0].key_id
    assert blob[4:12] == (1679315147).to_bytes(8)
    WITNESS_A.key.public_key().verify(blob[12:], message)


def test_a_newer_cosignature_of_the_same_witness_replaces_the_older() -> None:
    once = add_signatures(NOTE, [cosign(NOTE, WITNESS_A, NOON)])
    twice = add_signatures(once, [cosign(once, WITNESS_A, NOON + 1)])
    assert verify_cosignatures(twice, KEYS) == [(WITNESS_A.name, NOON + 1)]
    assert len(parse_note(twice).signatures) == 2
    assert add_signatures(twice, []) == twice


def test_a_witness_counts_once_however_often_it_signs() -> None:
    lines = cosign(NOTE, WITNESS_A, NOON + 5) + cosign(NOTE, WITNESS_A, NOON)
    assert verify_cosignatures(NOTE + lines, [KEYS[0], KEYS[0]]) == [(WITNESS_A.name, NOON + 5)]


def test_a_cosignature_of_another_checkpoint_is_refused() -> None:
    other = sign_checkpoint(Checkpoint(CHECKPOINT.origin, 7, ROOT), LOG)
    note = add_signatures(NOTE, [cosign(other, WITNESS_A, NOON)])
    assert code_of(verify_cosignatures, note, KEYS) is Code.CHECKPOINT_INVALID
    assert verify_cosignatures(note, KEYS[1:]) == []


def test_a_cosignature_with_its_time_changed_is_refused() -> None:
    blob = bytearray(base64.b64decode(cosign(NOTE, WITNESS_A, NOON).split(b" ")[2]))
    blob[11] ^= 1
    line = f"— {WITNESS_A.name} {base64.b64encode(blob).decode()}\n".encode()
    assert code_of(verify_cosignatures, NOTE + line, KEYS) is Code.CHECKPOINT_INVALID


def test_a_truncated_cosignature_is_refused() -> None:
    line = f"— {WITNESS_A.name} {base64.b64encode(KEYS[0].key_id + b'short').decode()}\n".encode()
    assert code_of(verify_cosignatures, NOTE + line, KEYS) is Code.CHECKPOINT_INVALID


def test_the_signature_of_a_log_is_never_a_cosignature_nor_the_other_way_round() -> None:
    both = signer(LOG.name, 1)
    assert verify_cosignatures(NOTE, [both.verifier_key(KeyType.COSIGNATURE), both.verifier_key()]) == []
    only_cosigned = CHECKPOINT.text.encode() + b"\n" + cosign(NOTE, both, NOON)
    assert (
        code_of(open_checkpoint, only_cosigned, CHECKPOINT.origin, LOG.verifier_key())
        is Code.CHECKPOINT_INVALID
    )


@pytest.mark.parametrize("timestamp", [-1, 2**63])
def test_a_time_out_of_bounds_is_not_signed(timestamp: int) -> None:
    assert code_of(cosign, NOTE, WITNESS_A, timestamp) is Code.CHECKPOINT_INVALID


def test_a_witness_does_not_cosign_what_is_no_checkpoint() -> None:
    assert code_of(cosign, sign_note("hello\n", LOG), WITNESS_A, NOON) is Code.CHECKPOINT_INVALID


def test_a_line_that_is_no_signature_is_not_added() -> None:
    assert code_of(add_signatures, NOTE, [b"hello\n"]) is Code.CHECKPOINT_INVALID


@pytest.mark.parametrize(
    "wrong",
    [("", 3, ROOT), ("two\nlines", 3, ROOT), ("log", -1, ROOT), ("log", 2**63, ROOT), ("log", 3, b"short")],
)
def test_a_checkpoint_that_cannot_be_written_cannot_be_made(wrong: tuple[str, int, bytes]) -> None:
    assert code_of(Checkpoint, *wrong) is Code.CHECKPOINT_INVALID

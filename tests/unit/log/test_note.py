"""Signed notes: the reference implementation's published key, note and rules, and every way to bend them."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.log import note as notes
from federation.log.note import KeyType, NoteSigner, VerifierKey, open_note, parse_note, parse_vkey, sign_note

# Published with the reference implementation, golang.org/x/mod/sumdb/note.
PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_BLOB = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
ENOCH_BLOB = "rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ="
PETER_LINE, ENOCH_LINE = f"— PeterNeumann {PETER_BLOB}\n", f"— EnochRoot {ENOCH_BLOB}\n"
NOTE = f"{TEXT}\n{PETER_LINE}"
PETER, ENOCH = parse_vkey(PETER_VKEY), parse_vkey(ENOCH_VKEY)


def peter() -> NoteSigner:
    return NoteSigner("PeterNeumann", Ed25519PrivateKey.from_private_bytes(PETER_SEED))


def refused(data: str | bytes, *keys: VerifierKey) -> str:
    with pytest.raises(LiaisonError) as raised:
        open_note(data.encode() if isinstance(data, str) else data, keys or [PETER])
    assert raised.value.code is Code.CHECKPOINT_INVALID
    return raised.value.detail


def test_the_published_note_verifies() -> None:
    opened, signed = open_note(NOTE.encode(), [PETER])
    assert opened.text == TEXT
    assert signed == [PETER]


def test_signing_with_the_published_key_gives_the_published_note() -> None:
    assert sign_note(TEXT, peter()).decode() == NOTE


def test_a_key_is_written_and_named_as_published() -> None:
    assert peter().verifier_key().encode() == PETER_VKEY
    assert PETER.key_id.hex() == "c74f20a3"
    assert parse_vkey(ENOCH_VKEY).encode() == ENOCH_VKEY


def test_the_same_key_as_a_witness_has_another_id() -> None:
    witness = peter().verifier_key(KeyType.COSIGNATURE)
    expected = hashlib.sha256(b"PeterNeumann\n\x04" + PETER.public).digest()[:4]
    assert witness.key_id == expected != PETER.key_id
    assert parse_vkey(witness.encode()) == witness


def test_both_published_signatures_verify_and_unknown_ones_are_ignored() -> None:
    both = f"{NOTE}{ENOCH_LINE}".encode()
    assert open_note(both, [PETER, ENOCH])[1] == [PETER, ENOCH]
    assert open_note(both, [ENOCH])[1] == [ENOCH]


def test_no_part_of_a_key_is_a_key() -> None:
    for begin in range(len(PETER_VKEY)):
        for end in range(begin + 1, len(PETER_VKEY) + 1):
            if (begin, end) != (0, len(PETER_VKEY)):
                with pytest.raises(LiaisonError):
                    parse_vkey(PETER_VKEY[begin:end])


def test_a_key_with_any_letter_changed_is_refused() -> None:
    for at, letter in enumerate(PETER_VKEY):
        with pytest.raises(LiaisonError) as raised:
            parse_vkey(PETER_VKEY[:at] + chr(ord(letter) + 1) + PETER_VKEY[at + 1 :])
        assert raised.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "\ud800+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "",
        "++",
    ],
    ids=["too long", "unknown type", "capitals", "a lone surrogate", "nothing", "only plus signs"],
)
def test_a_malformed_key_is_refused(vkey: str) -> None:
    with pytest.raises(LiaisonError) as raised:
        parse_vkey(vkey)
    assert raised.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb", "a\u00a0b", "a\x01b", "\udfff"])
def test_no_signer_has_a_name_that_a_note_cannot_carry(name: str) -> None:
    with pytest.raises(LiaisonError) as raised:
        NoteSigner(name, Ed25519PrivateKey.from_private_bytes(PETER_SEED))
    assert raised.value.code is Code.CONFIG_INVALID


def test_a_key_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(LiaisonError):
        VerifierKey("a", KeyType.ED25519, b"short")


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        f"{TEXT}\n",
        f"\n\n{PETER_LINE}",
        f"{TEXT}{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE[:-1]}",
        f"\x01{TEXT}\n{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE}".replace("\n", "\r\n"),
        b"\xff" + NOTE.encode(),
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad Name')}",
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad+Name')}",
        f"{TEXT}\n{PETER_LINE}Unexpected line.\n",
        f"{TEXT}\n{PETER_LINE.replace('—', '-')}",
        f"{TEXT}\n{PETER_LINE.replace('=', '')}",
        f"{TEXT}\n{PETER_LINE.replace(' x', '  x')}",
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\n— PeterNeumann \n",
        f"{TEXT}\n{PETER_LINE * 101}",
        "x" * 300_000 + NOTE,
        "",
    ],
)
def test_a_malformed_note_is_refused(data: str | bytes) -> None:
    refused(data)


def test_a_note_that_no_known_key_signed_is_refused() -> None:
    assert "No known key" in refused(NOTE, ENOCH)


def test_a_bad_signature_of_a_known_key_condemns_the_note_though_another_is_good() -> None:
    damaged = PETER_LINE.replace("x08go/ZJ", "x08go/ZK")
    assert "PeterNeumann" in refused(f"{TEXT}\n{damaged}{ENOCH_LINE}", PETER, ENOCH)
    assert "PeterNeumann" in refused(f"{NOTE}{damaged}", PETER)


def test_a_signature_under_the_right_name_but_another_id_is_an_unknown_one() -> None:
    stranger = NoteSigner("PeterNeumann", Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
    assert "No known key" in refused(sign_note(TEXT, stranger))


def test_a_witness_key_does_not_open_a_note_that_it_signed_as_a_log() -> None:
    refused(NOTE, peter().verifier_key(KeyType.COSIGNATURE))


def test_an_empty_line_may_stand_in_the_text() -> None:
    text = "one\n\ntwo\n\n"
    assert open_note(sign_note(text, peter()), [PETER])[0].text == text


@pytest.mark.parametrize("text", ["", "\n", "no newline", "tab\there\n", "\ud800\n"])
def test_a_text_that_no_note_can_carry_is_not_signed(text: str) -> None:
    with pytest.raises(LiaisonError) as raised:
        sign_note(text, peter())
    assert raised.value.code is Code.CHECKPOINT_INVALID


def test_no_changed_byte_of_a_note_goes_unseen() -> None:
    whole = NOTE.encode()
    for at in range(len(whole)):
        for mask in (0x01, 0x20, 0x80):
            refused(whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_reading_anything_ends_in_a_note_or_in_an_error_of_the_catalogue(data: bytes) -> None:
    for candidate in (data, TEXT.encode() + b"\n" + data, data + PETER_LINE.encode()):
        try:
            assert parse_note(candidate).encode() == candidate
        except LiaisonError as error:
            assert error.code is Code.CHECKPOINT_INVALID  # noqa: PT017 - either outcome is right


def test_lines_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(LiaisonError):
        notes.parse_signatures([b"\xff\n"])

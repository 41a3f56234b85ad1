"""Keys: only their owner reads them, and what is sealed opens for one key and one purpose."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.identity import keys
from federation.identity.hybrid import PUBLIC_BYTES, SealingKey, seal

SEALING = SealingKey.generate()


def test_a_key_reads_back_and_signs(tmp_path: Path) -> None:
    key = keys.new_signing_key()
    path = tmp_path / "agency.key"
    keys.write_secret(path, keys.private_pem(key))
    assert path.stat().st_mode & 0o777 == 0o600
    signer = keys.load_signer(f"file:{path}")
    key.public_key().verify(signer.sign(b"data"), b"data")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "agency.key"
    keys.write_secret(path, keys.private_pem(keys.new_signing_key()))
    path.chmod(0o640)
    with pytest.raises(LiaisonError) as caught:
        keys.load_signing_key(path)
    assert caught.value.code is Code.KEY_UNREADABLE
    assert "0640" in caught.value.sentence


def test_a_secret_is_never_overwritten(tmp_path: Path) -> None:
    keys.write_secret(tmp_path / "k", b"first")
    with pytest.raises(LiaisonError):
        keys.write_secret(tmp_path / "k", b"second")
    assert (tmp_path / "k").read_bytes() == b"first"


@pytest.mark.parametrize("content", [b"", b"garbage", keys.private_pem(keys.new_tls_key())])
def test_another_kind_of_file_is_no_signing_key(tmp_path: Path, content: bytes) -> None:
    keys.write_secret(tmp_path / "k", content)
    with pytest.raises(LiaisonError) as caught:
        keys.load_signing_key(tmp_path / "k")
    assert caught.value.code is Code.KEY_UNREADABLE


def test_an_unknown_kind_of_signer_is_refused() -> None:
    with pytest.raises(LiaisonError) as caught:
        keys.load_signer("pkcs11:token=x")
    assert caught.value.code is Code.KEY_UNREADABLE


def test_a_fingerprint_is_the_keys_own() -> None:
    one, other = keys.new_signing_key().public_key(), keys.new_signing_key().public_key()
    assert keys.fingerprint(one) == keys.fingerprint(one)
    assert keys.fingerprint(one) != keys.fingerprint(other)


@given(st.binary(max_size=200), st.binary(max_size=40))
@settings(max_examples=30)
def test_what_is_sealed_opens_for_its_key_and_purpose(plaintext: bytes, info: bytes) -> None:
    sealed = seal(plaintext, SEALING.public(), info)
    assert SEALING.open(sealed, info) == plaintext
    for key, purpose in ((SEALING, info + b"x"), (SealingKey.generate(), info)):
        with pytest.raises(LiaisonError) as caught:
            key.open(sealed, purpose)
        assert caught.value.code is Code.SEAL_BROKEN


@given(st.binary(max_size=1300))
@settings(max_examples=40)
def test_no_bytes_make_opening_or_sealing_fail_in_another_way(data: bytes) -> None:
    with pytest.raises(LiaisonError):
        SEALING.open(data, b"")
    if len(data) != PUBLIC_BYTES:
        with pytest.raises(LiaisonError):
            seal(b"x", data, b"")


def test_a_sealing_key_does_not_show_itself() -> None:
    assert SEALING.raw.hex() not in repr(SEALING)

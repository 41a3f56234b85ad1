"""The vault: photographs and records that only the master key opens."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.gallery.vault import StoredPhoto, Vault, create_key, read_key
from federation.errors import Code, LiaisonError


@pytest.fixture
def vault(tmp_path) -> Vault:
    return Vault(b"k" * 32, tmp_path / "photos")


def code_of(call) -> Code:
    with pytest.raises(LiaisonError) as refused:
        call()
    return refused.value.code


def test_a_photograph_comes_back_as_it_went_in(vault) -> None:
    stored = vault.store_photo("booking", b"\xff\xd8 picture")
    assert vault.photo("booking", stored) == b"\xff\xd8 picture"


def test_every_changed_byte_of_a_photograph_is_noticed(vault, tmp_path) -> None:
    stored = vault.store_photo("booking", b"picture")
    [path] = (tmp_path / "photos").rglob("*.bin")
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert code_of(lambda: vault.photo("booking", stored)) is Code.GALLERY_DAMAGED
    for length in (0, 5, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert code_of(lambda: vault.photo("booking", stored)) is Code.GALLERY_DAMAGED


def test_two_photographs_cannot_be_exchanged_for_each_other(vault, tmp_path) -> None:
    first = vault.store_photo("booking", b"first")
    second = vault.store_photo("booking", b"second")
    paths = {path.stem: path for path in (tmp_path / "photos").rglob("*.bin")}
    paths[first.photo_id].write_bytes(paths[second.photo_id].read_bytes())
    assert code_of(lambda: vault.photo("booking", first)) is Code.GALLERY_DAMAGED
    swapped = StoredPhoto(first.photo_id, second.wrapped_key)
    assert code_of(lambda: vault.photo("booking", swapped)) is Code.GALLERY_DAMAGED


def test_without_its_wrapped_key_a_photograph_cannot_be_read(vault) -> None:
    stored = vault.store_photo("booking", b"picture")
    assert code_of(lambda: vault.photo("booking", StoredPhoto(stored.photo_id, b""))) is Code.GALLERY_DAMAGED


def test_a_missing_photograph_says_that_the_gallery_is_damaged(vault) -> None:
    stored = vault.store_photo("booking", b"picture")
    vault.remove_photo("booking", stored.photo_id)
    vault.remove_photo("booking", stored.photo_id)
    assert code_of(lambda: vault.photo("booking", stored)) is Code.GALLERY_DAMAGED


def test_a_disk_that_cannot_be_written_is_said_so_and_leaves_nothing(vault, tmp_path) -> None:
    (tmp_path / "photos").write_bytes(b"a file where the folder should be")
    assert code_of(lambda: vault.store_photo("booking", b"picture")) is Code.STORAGE_FAILED


def test_files_are_for_their_owner_only_and_hold_no_plaintext(vault, tmp_path) -> None:
    vault.store_photo("booking", b"very plain picture")
    [path] = (tmp_path / "photos").rglob("*.bin")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"plain" not in path.read_bytes()
    assert [p for p in (tmp_path / "photos").rglob("*") if p.is_file()] == [path]


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_a_sealed_record_opens_in_its_own_row_only(plain: bytes, row: str, other: str) -> None:
    vault = Vault(b"k" * 32, None)
    sealed = vault.seal(plain, row)
    assert vault.open(sealed, row) == plain
    if other != row:
        assert code_of(lambda: vault.open(sealed, other)) is Code.GALLERY_DAMAGED
    assert code_of(lambda: Vault(b"x" * 32, None).open(sealed, row)) is Code.GALLERY_DAMAGED


@given(st.lists(st.text(max_size=5), max_size=3), st.lists(st.text(max_size=5), max_size=3))
def test_marks_are_equal_exactly_for_equal_parts(one: list[str], other: list[str]) -> None:
    vault = Vault(b"k" * 32, None)
    assert (vault.mark(*one) == vault.mark(*other)) == (one == other)
    assert vault.mark(*one) != Vault(b"x" * 32, None).mark(*one)


def test_a_created_key_is_private_and_never_overwritten(tmp_path) -> None:
    uri = create_key(tmp_path / "vault.key")
    assert stat.S_IMODE((tmp_path / "vault.key").stat().st_mode) == 0o600
    assert len(read_key(uri)) == 32
    assert code_of(lambda: create_key(tmp_path / "vault.key")) is Code.HOME_EXISTS


def test_a_key_that_is_missing_open_to_others_or_no_key_is_refused(tmp_path) -> None:
    path = tmp_path / "vault.key"
    assert code_of(lambda: read_key(f"file:{path}")) is Code.KEY_UNREADABLE
    assert code_of(lambda: read_key("hsm:slot-1")) is Code.KEY_UNREADABLE
    uri = create_key(path)
    path.chmod(0o640)
    assert code_of(lambda: read_key(uri)) is Code.KEY_UNREADABLE
    for text in ("", "liaison-vault-key/v1 c2hvcnQ=", "not base64 \u00fc", "A" * 44):
        path.write_text(text)
        path.chmod(0o600)
        assert code_of(lambda: read_key(uri)) is Code.KEY_UNREADABLE

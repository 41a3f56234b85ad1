"""The sealed envelope: one ciphertext, a key per gallery, and nothing that opens anywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.probe.envelope import open_answer, open_probe, seal_answer, seal_probe

PICTURE = b"\xff\xd8\xff a picture of a face"
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64
NODES = {"a-so/booking": SealingKey.generate(), "b-pd/booking": SealingKey.generate()}
SEALED = seal_probe(PICTURE, DIGEST, {gallery: key.public() for gallery, key in NODES.items()})


def broken(ciphertext: bytes, sealed_key: bytes, digest: str, gallery: str, key: SealingKey) -> None:
    with pytest.raises(LiaisonError) as caught:
        open_probe(ciphertext, sealed_key, digest, gallery, key)
    assert caught.value.code is Code.SEAL_BROKEN


def test_each_gallery_opens_the_one_ciphertext_with_its_own_key() -> None:
    for gallery, key in NODES.items():
        assert open_probe(SEALED.ciphertext, SEALED.keys[gallery], DIGEST, gallery, key) == PICTURE


def test_what_the_hub_carries_shows_nothing_of_the_picture() -> None:
    for carried in (SEALED.ciphertext, *SEALED.keys.values()):
        assert PICTURE not in carried
        assert b"\xff\xd8\xff" not in carried[:16]


def test_a_hub_that_keeps_the_envelope_cannot_open_it() -> None:
    """The attacker holds everything that passed through the hub, and any keys of its own."""
    for gallery, sealed_key in SEALED.keys.items():
        broken(SEALED.ciphertext, sealed_key, DIGEST, gallery, SealingKey.generate())


def test_a_key_sealed_for_one_gallery_opens_for_no_other() -> None:
    first, second = NODES
    broken(SEALED.ciphertext, SEALED.keys[first], DIGEST, second, NODES[first])
    broken(SEALED.ciphertext, SEALED.keys[first], DIGEST, second, NODES[second])


def test_a_probe_sealed_for_one_request_opens_for_no_other() -> None:
    for gallery, key in NODES.items():
        broken(SEALED.ciphertext, SEALED.keys[gallery], OTHER, gallery, key)


def test_a_ciphertext_put_in_place_of_another_is_refused() -> None:
    swapped = seal_probe(b"somebody else", DIGEST, {})
    gallery, key = next(iter(NODES.items()))
    broken(swapped.ciphertext, SEALED.keys[gallery], DIGEST, gallery, key)


@given(st.integers(0, len(SEALED.ciphertext) - 1), st.integers(0, 7))
def test_any_flipped_bit_of_the_ciphertext_is_found(place: int, bit: int) -> None:
    changed = bytearray(SEALED.ciphertext)
    changed[place] ^= 1 << bit
    gallery, key = next(iter(NODES.items()))
    broken(bytes(changed), SEALED.keys[gallery], DIGEST, gallery, key)


@given(st.binary(max_size=40))
@settings(max_examples=30)
def test_no_bytes_make_opening_fail_in_another_way(data: bytes) -> None:
    gallery, key = next(iter(NODES.items()))
    broken(data, SEALED.keys[gallery], DIGEST, gallery, key)
    broken(SEALED.ciphertext, data, DIGEST, gallery, key)


def test_an_answer_opens_for_its_request_and_gallery_alone() -> None:
    key = SealingKey.generate()
    sealed = seal_answer(b"answer", DIGEST, "a-so/booking", key.public())
    assert open_answer(sealed, DIGEST, "a-so/booking", key) == b"answer"
    for digest, gallery, other in (
        (OTHER, "a-so/booking", key),
        (DIGEST, "b-pd/booking", key),
        (DIGEST, "a-so/booking", SealingKey.generate()),
    ):
        with pytest.raises(LiaisonError) as caught:
            open_answer(sealed, digest, gallery, other)
        assert caught.value.code is Code.SEAL_BROKEN

"""What every template index promises, whatever it is made of."""

from __future__ import annotations

import numpy as np
import pytest


def unit_vectors(count: int, seed: int = 7) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, 512)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


IDS = [2**62 - 1 - 1000 * n for n in range(700)]


def test_the_nearest_templates_come_in_the_order_of_the_exact_inner_product(open_index) -> None:
    vectors, probes = unit_vectors(700), unit_vectors(5, seed=8)
    exact = probes @ vectors.T
    with open_index() as index:
        index.upsert(IDS, vectors)
        found = index.search(probes, 30)
    for row, hits in zip(exact, found, strict=True):
        best = np.argsort(-row)[:30]
        assert [template_id for template_id, _ in hits] == [IDS[n] for n in best]
        assert np.allclose([similarity for _, similarity in hits], row[best], atol=1e-5)


def test_a_template_finds_itself_with_similarity_one(open_index) -> None:
    vectors = unit_vectors(20)
    with open_index() as index:
        index.upsert(IDS[:20], vectors)
        [[(template_id, similarity)]] = index.search(vectors[3:4], 1)
    assert template_id == IDS[3]
    assert similarity == pytest.approx(1.0, abs=1e-5)


def test_an_empty_index_finds_nothing(open_index) -> None:
    with open_index() as index:
        assert index.search(unit_vectors(2), 10) == [[], []]
        assert index.ids() == set()
        assert index.count() == 0


def test_more_asked_than_there_are_returns_them_all(open_index) -> None:
    with open_index() as index:
        index.upsert(IDS[:3], unit_vectors(3))
        [hits] = index.search(unit_vectors(1, seed=9), 50)
    assert {template_id for template_id, _ in hits} == set(IDS[:3])


def test_nothing_asked_is_nothing_found(open_index) -> None:
    with open_index() as index:
        index.upsert(IDS[:3], unit_vectors(3))
        assert index.search(unit_vectors(3)[:0], 5) == []
        assert index.search(unit_vectors(1), 0) == [[]]


def test_putting_the_same_template_in_twice_keeps_one(open_index) -> None:
    vectors = unit_vectors(4)
    with open_index() as index:
        index.upsert(IDS[:4], vectors)
        index.upsert(IDS[:4], vectors)
        assert index.count() == 4
        [hits] = index.search(vectors[:1], 10)
    assert len(hits) == 4


def test_putting_another_vector_under_an_id_replaces_the_old_one(open_index) -> None:
    vectors = unit_vectors(2)
    with open_index() as index:
        index.upsert(IDS[:1], vectors[:1])
        index.upsert(IDS[:1], vectors[1:])
        [[(_, similarity)]] = index.search(vectors[1:], 1)
    assert similarity == pytest.approx(1.0, abs=1e-5)


def test_what_was_deleted_is_found_no_more_and_deleting_twice_is_no_error(open_index) -> None:
    vectors = unit_vectors(5)
    with open_index() as index:
        index.upsert(IDS[:5], vectors)
        index.delete([IDS[0], IDS[1]])
        index.delete([IDS[0], 12345])
        assert index.ids() == set(IDS[2:5])
        assert index.count() == 3
        [hits] = index.search(vectors[:1], 5)
    assert {template_id for template_id, _ in hits} == set(IDS[2:5])


def test_everything_is_still_there_after_closing_and_opening(open_index) -> None:
    vectors = unit_vectors(700)
    with open_index() as index:
        index.upsert(IDS, vectors)
        index.delete(IDS[:100])
        before = index.search(vectors[200:203], 20)
    with open_index() as index:
        assert index.ids() == set(IDS[100:])
        assert index.count() == 600
        assert index.search(vectors[200:203], 20) == before

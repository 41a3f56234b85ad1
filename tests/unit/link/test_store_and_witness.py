"""What a node remembers, and how it watches the log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agency_node.link.backoff import LONGEST, SHORTEST, backoff
from agency_node.link.clock import check_hub_clock
from agency_node.link.store import NodeStore, Outcome, Searched, user_mark
from agency_node.link.witness import LogWitness, Offered
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.region import Trust
from federation.log import KeyType, NoteSigner, add_signatures, verify_cosignatures

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[NodeStore]:
    made = NodeStore(tmp_path / "node.db")
    yield made
    made.close()


def test_an_outcome_survives_the_process_until_the_hub_has_it(tmp_path: Path) -> None:
    first = NodeStore(tmp_path / "node.db")
    assert first.receive("r/a/g", "r", "sha256:1", NOW) is None
    first.answer("r/a/g", Outcome(b"receipt", b"sealed"))
    first.close()
    second = NodeStore(tmp_path / "node.db")
    assert second.unsettled() == [("r/a/g", Outcome(b"receipt", b"sealed"))]
    assert second.receive("r/a/g", "r", "sha256:1", NOW) == Outcome(b"receipt", b"sealed")
    second.settle("r/a/g")
    assert second.unsettled() == []
    assert second.receive("r/a/g", "r", "sha256:1", NOW) == Outcome(b"receipt", None)
    second.close()


def test_an_answer_that_the_hub_never_took_does_not_outlive_its_request(store: NodeStore) -> None:
    for number, at in enumerate((NOW - timedelta(days=40), NOW)):
        store.receive(f"{number}/a/g", str(number), "sha256:1", at)
        store.answer(f"{number}/a/g", Outcome(b"receipt", b"sealed"))
    store.abandon(NOW - timedelta(days=31))
    assert [delivery_id for delivery_id, _ in store.unsettled()] == ["1/a/g"]
    assert store.receive("0/a/g", "0", "sha256:1", NOW) == Outcome(b"receipt", None)


def test_what_was_received_but_not_answered_is_neither_settled_nor_unsettled(store: NodeStore) -> None:
    store.receive("r/a/g", "r", "sha256:1", NOW)
    store.settle("r/a/g")
    assert store.receive("r/a/g", "r", "sha256:1", NOW) is None
    assert store.unsettled() == []


def test_a_request_id_with_another_digest_is_refused_at_every_gallery(store: NodeStore) -> None:
    store.receive("r/a/g", "r", "sha256:1", NOW)
    store.receive("r/a/h", "r", "sha256:1", NOW)
    for delivery in ("r/a/g", "r/a/i"):
        with pytest.raises(LiaisonError) as caught:
            store.receive(delivery, "r", "sha256:2", NOW)
        assert caught.value.code is Code.REQUEST_REPLAYED


def test_searches_are_counted_by_user_gallery_and_day_without_naming_anybody(store: NodeStore) -> None:
    searched = Searched(user_mark("a", "d.okafor"), "a/g", date(2026, 3, 2))
    for number in range(3):
        store.receive(f"{number}/a/g", str(number), "sha256:1", NOW)
        store.answer(f"{number}/a/g", Outcome(b"x", b"y", searched))
    assert store.searches(searched) == 3
    assert store.searches(Searched(searched.user_mark, "a/h", searched.day)) == 0
    assert store.searches(Searched(user_mark("b", "d.okafor"), "a/g", searched.day)) == 0
    assert store.searches(Searched(searched.user_mark, "a/g", date(2026, 3, 3))) == 0
    assert "okafor" not in searched.user_mark


def test_a_policy_version_never_goes_back(store: NodeStore) -> None:
    for version in (3, 1):
        store.note_policy_version("a", version)
    assert (store.policy_version("a"), store.policy_version("b")) == (3, 0)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store = NodeStore(tmp_path / "node.db")
    with store._write() as connection:
        connection.exec_driver_sql("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(LiaisonError) as caught:
        NodeStore(tmp_path / "node.db")
    assert caught.value.code is Code.CONFIG_INVALID


def test_a_file_that_is_no_database_is_an_error_of_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(LiaisonError) as caught:
        NodeStore(tmp_path / "node.db")
    assert caught.value.code is Code.STORAGE_FAILED


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_backoff_stays_between_its_bounds_and_grows_with_the_attempts(attempt: int, chance: float) -> None:
    assert SHORTEST <= backoff(attempt, chance) <= LONGEST
    assert backoff(attempt, chance) <= backoff(attempt + 1, chance)


def test_backoff_spreads_nodes_that_lost_the_hub_together() -> None:
    assert backoff(3, 0.0) == SHORTEST
    assert backoff(0, 0.999) < 0.41
    assert backoff(20, 0.999) > 29


@pytest.mark.parametrize(("minutes", "side"), [(6, "ahead"), (-60, "behind")])
def test_a_clock_that_differs_by_more_than_five_minutes_is_refused(minutes: int, side: str) -> None:
    check_hub_clock(stamp(NOW), NOW + timedelta(minutes=4))
    with pytest.raises(LiaisonError) as caught:
        check_hub_clock(stamp(NOW), NOW + timedelta(minutes=minutes))
    assert caught.value.code is Code.CLOCK_SKEW
    assert side in caught.value.detail


# --- The witness ----------------------------------------------------------------------------------------


class Watching:
    """A witness of the log in `pki`."""

    def __init__(self, pki: Any, store: NodeStore, signer: NoteSigner) -> None:
        self.log = pki.log
        self.trust = Trust.begin("delta", pki.root.certificate, pki.bundle(), datetime.now(UTC))
        self.witness = LogWitness(store, lambda: self.trust, signer, self.log.prove, lambda: NOW)


@pytest.fixture
def watching(hub: Any, pki: Any, store: NodeStore, node: Any) -> Watching:
    from federation.identity.keys import load_signing_key

    return Watching(pki, store, NoteSigner("delta/eastport-pd/n1", load_signing_key(node.witness_key_path)))


async def test_a_checkpoint_that_continues_the_last_is_cosigned(watching: Watching) -> None:
    for _ in range(3):
        watching.log.grow(2)
        note = watching.log.note()
        size, line = await watching.witness.cosign(note)
        key = watching.witness._signer.verifier_key(KeyType.COSIGNATURE)
        assert verify_cosignatures(add_signatures(note, [line]), [key]) == [(key.name, int(NOW.timestamp()))]
        assert size == watching.witness.size


async def test_an_older_checkpoint_is_accepted_if_it_is_a_prefix_and_does_not_become_the_last(
    watching: Watching,
) -> None:
    old = watching.log.note()
    watching.log.grow(4)
    await watching.witness.see(watching.log.note())
    assert (await watching.witness.see(old)).size == 3
    assert watching.witness.size == 7


async def test_a_proof_that_comes_along_is_used_if_it_fits_and_only_then(watching: Watching) -> None:
    await watching.witness.see(watching.log.note())
    fetched: list[tuple[int, int]] = []

    async def fetch(first: int, second: int) -> Any:
        fetched.append((first, second))
        return await watching.log.prove(first, second)

    watching.witness._fetch = fetch
    watching.log.grow(4)
    good = list(await watching.log.prove(3, 7))
    await watching.witness.see(watching.log.note(), Offered(3, good))
    assert fetched == []
    watching.log.grow(2)
    for offered in (Offered(7, [bytes(32)]), Offered(3, good)):
        await watching.witness.see(watching.log.note(), offered)
    assert fetched == [(7, 9)]
    assert watching.witness.size == 9


async def test_a_false_proof_that_comes_along_does_not_make_changed_history_believed(
    watching: Watching, store: NodeStore
) -> None:
    await watching.witness.see(watching.log.note())
    watching.log.leaves[0] = bytes(32)
    watching.log.grow()
    false = list(await watching.log.prove(3, 4))
    with pytest.raises(LiaisonError) as caught:
        await watching.witness.see(watching.log.note(), Offered(3, false))
    assert caught.value.code is Code.CHECKPOINT_INCONSISTENT
    assert len(store.evidence()) == 1
    assert watching.witness.size == 3


async def test_changed_history_is_evidence_and_nothing_is_believed_after_it(
    watching: Watching, store: NodeStore
) -> None:
    await watching.witness.see(watching.log.note())
    watching.log.leaves[0] = bytes(32)
    watching.log.grow()
    for _ in range(2):
        with pytest.raises(LiaisonError) as caught:
            await watching.witness.cosign(watching.log.note())
        assert caught.value.code is Code.CHECKPOINT_INCONSISTENT
    assert len(store.evidence()) == 1
    assert watching.witness.size == 3


async def test_a_split_view_of_the_same_size_is_evidence(watching: Watching, store: NodeStore) -> None:
    await watching.witness.see(watching.log.note())
    watching.log.leaves[2] = bytes(32)
    with pytest.raises(LiaisonError):
        await watching.witness.see(watching.log.note())
    assert len(store.evidence()) == 1


async def test_what_the_desk_of_the_same_home_has_seen_binds_the_serving_process_too(
    watching: Watching, store: NodeStore, pki: Any
) -> None:
    desk = Watching(pki, store, watching.witness._signer)
    await watching.witness.see(watching.log.note())
    fork = list(watching.log.leaves)
    watching.log.grow(3)
    await desk.witness.see(watching.log.note())
    watching.log.leaves = [*fork, bytes(32), bytes(32), bytes(32), bytes(32)]
    with pytest.raises(LiaisonError) as caught:
        await watching.witness.see(watching.log.note())
    assert caught.value.code is Code.CHECKPOINT_INCONSISTENT


async def test_two_processes_that_see_the_log_grow_at_once_never_go_back(
    watching: Watching, store: NodeStore, pki: Any
) -> None:
    desk = Watching(pki, store, watching.witness._signer)
    await watching.witness.see(watching.log.note())
    watching.log.grow(1)
    middle = watching.log.note()
    watching.log.grow(5)
    newest = watching.log.note()

    async def overtaken(first: int, second: int) -> list[bytes]:
        if (first, second) == (3, 4):
            await desk.witness.see(newest)
        proof: list[bytes] = await watching.log.prove(first, second)
        return proof

    watching.witness._fetch = overtaken
    assert (await watching.witness.see(middle)).size == 4
    assert watching.witness.size == 9
    assert '"checkpoint": "log.delta.example\\n9\\n' in (
        store.log_state(watching.trust.bundle.log_vkey) or ""
    )

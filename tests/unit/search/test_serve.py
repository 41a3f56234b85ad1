"""One delivery at a node: what is served, and every way in which a hub that was taken over fails to have one served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from agency_node.link.store import Outcome
from agency_node.search.serve import serve
from federation.canonical import stamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import der, make_root, make_signing_certificate, parse_certificate
from federation.identity.hybrid import SealingKey
from federation.identity.keys import new_signing_key, new_tls_key
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement, sign
from federation.log import EntryType, LogEntry, NoteSigner, commit
from federation.policy.load import digest
from federation.probe.answer import Receipt
from federation.probe.envelope import seal_probe
from federation.probe.logged import request_facts
from federation.probe.request import Requester
from protos.liaison.v1 import broker_pb2 as pb

Region = Any
OWNER, ASKER, FRIEND = "eastport-pd", "mill-creek-pd", "harbor-pd"
NAME = "eastport-pd/booking"


async def outcome_of(region: Region, delivery: pb.Delivery, **context: Any) -> Outcome:
    return await serve(delivery, region.context(**context), region.claim)


async def refusal(region: Region, delivery: pb.Delivery, **context: Any) -> Receipt:
    """Serve it; whatever came of it, there is a signed receipt and no face was looked at."""
    outcome = await outcome_of(region, delivery, **context)
    assert outcome.sealed_answer is None
    assert region.opened == 0
    assert region.searcher.calls == []
    receipt: Receipt = region.receipt(outcome.receipt)
    assert receipt.outcome == "refused_by_node"
    assert receipt.reason
    return receipt


async def test_a_right_delivery_is_searched_answered_and_signed(region: Region) -> None:
    delivery = region.delivery()
    outcome = await outcome_of(region, delivery)
    receipt = region.receipt(outcome.receipt)
    answer = region.answer(outcome.sealed_answer, SignedStatement.decode(delivery.request).digest)
    assert receipt.outcome == "answered"
    assert receipt.candidates == len(answer.candidates) == 5
    assert answer.calibration is None
    assert {candidate.fmr for candidate in answer.candidates} == {None}
    assert (receipt.log_index, receipt.log_size) == (delivery.proof.index, 7)
    assert {rule.id for rule in receipt.rules} >= {"assist"}
    assert set(receipt.policies) >= {OWNER, ASKER, "region"}
    [(gallery, picture, box, limit, release)] = region.searcher.calls
    assert (gallery, box, limit) == ("booking", (10, 20, 110, 140), 5)
    assert release == {"subject-reference", "photo"}
    assert b"only the gallery's node may see" in picture
    assert region.claims == 1


async def test_the_requester_can_ask_for_fewer_candidates_than_policy_allows(region: Region) -> None:
    await outcome_of(region, region.delivery(region.request(candidates=2)))
    assert region.searcher.calls[0][3] == 2


async def test_a_delivery_that_comes_again_gets_the_stored_outcome_and_no_second_search(
    region: Region,
) -> None:
    delivery = region.delivery()
    first = await outcome_of(region, delivery)
    again = await outcome_of(region, delivery)
    assert (again.receipt, again.sealed_answer) == (first.receipt, first.sealed_answer)
    assert len(region.searcher.calls) == 1


async def test_after_a_crash_before_the_answer_the_delivery_is_served_when_it_comes_again(
    region: Region,
) -> None:
    delivery = region.delivery()
    signed = SignedStatement.decode(delivery.request)
    region.store.receive(delivery.delivery_id, delivery.delivery_id[:32], signed.digest, region.now)
    outcome = await outcome_of(region, delivery)
    assert region.receipt(outcome.receipt).outcome == "answered"


async def test_a_limit_on_the_false_match_rate_closes_a_gallery_that_is_not_calibrated(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    share = {"id": "s", "says": "S.", "limits": {"fmr_at_most": 1e-4}}
    region.policy = policy_file(OWNER, share=[share])
    outcome = await outcome_of(region, region.delivery())
    receipt = region.receipt(outcome.receipt)
    assert (receipt.outcome, receipt.code) == ("refused_by_node", "policy-denies")
    assert "not calibrated" in (receipt.reason or "")


# --- A hub that was taken over ------------------------------------------------------------------------------


def _hub_signs(region: Region) -> pb.Delivery:
    """The hub signs a request of its own in the agency's name, with its own certificate."""
    request = region.request()
    return region.delivery(request, signed=region.sign("hub", "probe-request", request.encode()))


def _own_root(region: Region) -> pb.Delivery:
    """The hub makes itself a root and an agency."""
    request, key = region.request(), new_signing_key()
    root = make_root("delta", new_tls_key(), region.now)
    identity = SpiffeId.of_agency("delta", ASKER)
    certificate = make_signing_certificate(identity, key.public_key(), root, region.now)
    return region.delivery(request, signed=sign("probe-request", request.encode(), key, der(certificate)))


def _other_agency_signs(region: Region) -> pb.Delivery:
    request = region.request()
    return region.delivery(request, signed=region.sign(FRIEND, "probe-request", request.encode()))


def _changed_after_signing(region: Region) -> pb.Delivery:
    """The hub widens what was asked, and logs the change faithfully."""
    request = region.request()
    signed = region.sign(ASKER, "probe-request", request.encode())
    changed = request.model_copy(update={"candidates": 50})
    return region.delivery(changed, signed=replace(signed, payload=changed.encode()))


def _answer_shown_as_request(region: Region) -> pb.Delivery:
    request = region.request()
    signed = region.sign(ASKER, "cancel", request.encode())
    return region.delivery(request, signed=replace(signed, kind="probe-request"))


def _revoked(region: Region) -> pb.Delivery:
    serial = parse_certificate(region.certificates[ASKER]).serial_number
    region.trust = region.trust.update(region.bundle(version=2, revoked_signers=(str(serial),)), region.now)
    return region.delivery()


def _unlogged(region: Region) -> pb.Delivery:
    """The request never went into the log; the proof is that of another entry."""
    delivery = region.delivery()
    other = region.delivery()
    delivery.proof.CopyFrom(other.proof)
    return delivery


def _never_appended(region: Region) -> pb.Delivery:
    """An entry is made up for the node alone, beside the log."""
    delivery = region.delivery()
    del region.log.leaves[-2:]
    region.log.append(LogEntry(EntryType.AGENCY, region.now, {"agency": "a"}).encode())
    region.log.append(LogEntry(EntryType.AGENCY, region.now, {"agency": "b"}).encode())
    delivery.proof.checkpoint = region.log.note()
    delivery.proof.ClearField("inclusion")
    delivery.proof.inclusion.extend(region.log.inclusion(delivery.proof.index))
    return delivery


def _logged_with(**facts: Any) -> Callable[[Region], pb.Delivery]:
    def make(region: Region) -> pb.Delivery:
        request = region.request()
        stated = request_facts(request) | facts
        salt_free = region.sign(ASKER, "probe-request", request.encode())
        delivery: pb.Delivery = region.delivery(request)
        entry = LogEntry(
            EntryType.REQUEST, region.now, stated, commit(salt_free.payload, delivery.proof.salt)
        )
        return _relogged(region, delivery, entry)

    return make


def _relogged(region: Region, delivery: pb.Delivery, entry: LogEntry) -> pb.Delivery:
    index = region.log.append(entry.encode())
    delivery.proof.entry, delivery.proof.index = entry.encode(), index
    delivery.proof.checkpoint = region.log.note()
    delivery.proof.ClearField("inclusion")
    delivery.proof.inclusion.extend(region.log.inclusion(index))
    return delivery


def _logged_as_decision(region: Region) -> pb.Delivery:
    request = region.request()
    delivery = region.delivery(request)
    entry = LogEntry(EntryType.DECISION, region.now, request_facts(request), commit(b"", delivery.proof.salt))
    return _relogged(region, delivery, entry)


def _committed_to_other_bytes(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery(salt_payload=b"another request")
    return delivery


def _without_commitment(region: Region) -> pb.Delivery:
    request = region.request()
    delivery = region.delivery(request)
    return _relogged(region, delivery, LogEntry(EntryType.REQUEST, region.now, request_facts(request)))


def _checkpoint_of_another_key(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery()
    delivery.proof.checkpoint = region.log.note(signer=NoteSigner(region.log.signer.name, new_signing_key()))
    return delivery


def _garbled_entry(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery()
    delivery.proof.entry += b" "
    return delivery


def _short_salt(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery()
    delivery.proof.salt = delivery.proof.salt[:31]
    return delivery


def _gallery_not_asked(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery(gallery="eastport-pd/juvenile")
    return delivery


def _other_agencys_gallery(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery(
        region.request(galleries=("harbor-pd/booking",)), gallery="harbor-pd/booking"
    )
    return delivery


def _gallery_not_open(region: Region) -> pb.Delivery:
    region.searcher.galleries = ()
    delivery: pb.Delivery = region.delivery()
    return delivery


def _expired(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery()
    region.now += timedelta(hours=1)
    return delivery


def _from_the_future(region: Region) -> pb.Delivery:
    start = region.now + timedelta(minutes=30)
    request = region.request(created_at=stamp(start), expires_at=stamp(start + timedelta(hours=1)))
    delivery: pb.Delivery = region.delivery(request)
    return delivery


def _other_region(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery(region.request(region="gamma"))
    return delivery


def _no_requester_policy(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery(requester_policy=b"")
    return delivery


def _not_a_statement(region: Region) -> pb.Delivery:
    delivery: pb.Delivery = region.delivery()
    delivery.request = b"\xff not a statement"
    return delivery


ATTACKS: list[tuple[Callable[[Region], pb.Delivery], Code]] = [
    (_hub_signs, Code.NOT_AUTHORIZED),
    (_own_root, Code.CERTIFICATE_INVALID),
    (_other_agency_signs, Code.NOT_AUTHORIZED),
    (_changed_after_signing, Code.SIGNATURE_INVALID),
    (_answer_shown_as_request, Code.SIGNATURE_INVALID),
    (_revoked, Code.CERTIFICATE_REVOKED),
    (_unlogged, Code.PROOF_INVALID),
    (_never_appended, Code.PROOF_INVALID),
    (_logged_with(purpose="missing-person"), Code.PROOF_INVALID),
    (_logged_with(galleries=[]), Code.PROOF_INVALID),
    (_logged_with(requester="harbor-pd"), Code.PROOF_INVALID),
    (_logged_with(extra=1), Code.PROOF_INVALID),
    (_logged_as_decision, Code.PROOF_INVALID),
    (_committed_to_other_bytes, Code.PROOF_INVALID),
    (_without_commitment, Code.PROOF_INVALID),
    (_checkpoint_of_another_key, Code.CHECKPOINT_INVALID),
    (_garbled_entry, Code.LOG_DAMAGED),
    (_short_salt, Code.PROOF_INVALID),
    (_gallery_not_asked, Code.REQUEST_INVALID),
    (_other_agencys_gallery, Code.GALLERY_UNKNOWN),
    (_gallery_not_open, Code.GALLERY_ABSENT),
    (_expired, Code.REQUEST_EXPIRED),
    (_from_the_future, Code.CLOCK_SKEW),
    (_other_region, Code.NOT_AUTHORIZED),
    (_no_requester_policy, Code.POLICY_MISSING),
    (_not_a_statement, Code.REQUEST_INVALID),
]


@pytest.mark.parametrize(("attack", "code"), ATTACKS)
async def test_an_attack_ends_in_a_signed_refusal_before_the_probe_is_opened(
    region: Region, attack: Callable[[Region], pb.Delivery], code: Code
) -> None:
    receipt = await refusal(region, attack(region))
    assert receipt.code == code.value


async def test_a_log_that_was_rolled_back_is_refused_and_both_checkpoints_are_kept(region: Region) -> None:
    await outcome_of(region, region.delivery())
    region.searcher.calls.clear()
    type(region.sealing_key).opened = 0
    known = region.log.note()
    del region.log.leaves[3:]
    delivery = region.delivery()
    receipt = await refusal(region, delivery)
    assert receipt.code == Code.CHECKPOINT_INCONSISTENT.value
    [evidence] = region.store.evidence()
    assert evidence.refused == delivery.proof.checkpoint
    assert evidence.known == known


async def test_a_forked_log_stops_all_serving_until_an_operator_acknowledges(region: Region) -> None:
    await outcome_of(region, region.delivery())
    region.searcher.calls.clear()
    type(region.sealing_key).opened = 0
    honest = list(region.log.leaves)
    region.log.leaves[2] = bytes(32)
    await refusal(region, region.delivery())
    region.log.leaves = honest
    still = await refusal(region, region.delivery())
    assert still.code == Code.CHECKPOINT_INCONSISTENT.value
    assert region.store.acknowledge(region.now) == 1
    after = await outcome_of(region, region.delivery())
    assert region.receipt(after.receipt).outcome == "answered"


async def test_a_hub_that_cannot_be_asked_for_a_proof_leaves_the_delivery_unserved_and_unanswered(
    region: Region,
) -> None:
    await outcome_of(region, region.delivery())

    async def unreachable(first: int, second: int) -> list[bytes]:
        raise LiaisonError(Code.HUB_UNREACHABLE)

    region.witness._fetch = unreachable
    with pytest.raises(LiaisonError) as caught:
        await outcome_of(region, region.delivery())
    assert caught.value.code is Code.HUB_UNREACHABLE
    assert region.store.evidence() == []
    assert len(region.store.unsettled()) == 1


async def test_an_id_that_comes_again_with_other_contents_is_refused_and_the_first_outcome_stays(
    region: Region,
) -> None:
    request = region.request()
    delivery = region.delivery(request)
    first = await outcome_of(region, delivery)
    region.searcher.calls.clear()
    type(region.sealing_key).opened = 0
    other = region.request(id=request.id, case_number="26-9999")
    receipt = await refusal(region, region.delivery(other))
    assert receipt.code == Code.REQUEST_REPLAYED.value
    again = await outcome_of(region, delivery)
    assert again.receipt == first.receipt


# --- Policies -----------------------------------------------------------------------------------------------


async def test_the_nodes_own_file_decides_even_when_the_hub_permitted(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    delivery = region.delivery()
    refuse = [{"id": "not-now", "says": "Nobody searches us this week."}]
    region.policy = policy_file(OWNER, refuse=refuse)
    receipt = await refusal(region, delivery)
    assert receipt.code == Code.POLICY_DENIES.value
    assert "Nobody searches us this week." in (receipt.reason or "")
    assert [(rule.source, rule.id) for rule in receipt.rules] == [(OWNER, "not-now")]


@pytest.mark.parametrize(
    ("text", "code"),
    [(b"", Code.POLICY_MISSING), (b"liaison: policy/v1\nsurprise: 1\n", Code.POLICY_INVALID)],
)
async def test_no_policy_or_an_invalid_one_refuses(region: Region, text: bytes, code: Code) -> None:
    region.policy = text
    receipt = await refusal(region, region.delivery())
    assert receipt.code == code.value


async def test_the_regions_requirement_binds_whatever_hub_and_owner_say(region: Region) -> None:
    receipt = await refusal(region, region.delivery(region.request(case_number=None)))
    assert receipt.code == Code.POLICY_DENIES.value


async def test_a_search_that_waits_for_approval_is_not_made(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    region.policy = policy_file(OWNER, share=[{"id": "s", "says": "S.", "requires": ["supervisor-approval"]}])
    receipt = await refusal(region, region.delivery())
    assert receipt.code == Code.APPROVAL_MISSING.value


async def test_the_hub_cannot_swap_the_requesters_policy_for_a_laxer_one_it_signed_before(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    strict = policy_file(ASKER, version=2, use=[])
    request = region.request(policy_digest=digest(strict))
    lax = region.published(ASKER, policy_file(ASKER))
    receipt = await refusal(region, region.delivery(request, requester_policy=lax))
    assert receipt.code == Code.SIGNATURE_INVALID.value


async def test_the_hub_cannot_write_the_requesters_policy_itself(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    made_up = region.published(ASKER, policy_file(ASKER), signer="hub")
    receipt = await refusal(region, region.delivery(requester_policy=made_up))
    assert receipt.code == Code.NOT_AUTHORIZED.value


async def test_a_search_for_another_agency_needs_that_agencys_permission_too(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    request = region.request(beneficiary=FRIEND)
    missing = await refusal(region, region.delivery(request))
    assert missing.code == Code.POLICY_MISSING.value
    forbids = region.published(FRIEND, policy_file(FRIEND, use=[]))
    denied = await refusal(
        region, region.delivery(region.request(beneficiary=FRIEND), beneficiary_policy=forbids)
    )
    assert denied.code == Code.POLICY_DENIES.value
    allows = region.published(FRIEND, policy_file(FRIEND))
    outcome = await outcome_of(
        region, region.delivery(region.request(beneficiary=FRIEND), beneficiary_policy=allows)
    )
    assert region.receipt(outcome.receipt).outcome == "answered"


async def test_the_hub_cannot_show_an_older_policy_of_the_beneficiary(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    newer = region.published(FRIEND, policy_file(FRIEND, version=2, use=[]), version=2)
    await refusal(region, region.delivery(region.request(beneficiary=FRIEND), beneficiary_policy=newer))
    older = region.published(FRIEND, policy_file(FRIEND))
    receipt = await refusal(
        region, region.delivery(region.request(beneficiary=FRIEND), beneficiary_policy=older)
    )
    assert receipt.code == Code.POLICY_ROLLBACK.value


async def test_a_users_searches_of_a_day_are_counted_at_the_node(
    region: Region, policy_file: Callable[..., bytes]
) -> None:
    region.policy = policy_file(OWNER, share=[{"id": "s", "says": "S.", "limits": {"per_user_per_day": 2}}])
    for _ in range(2):
        assert region.receipt((await outcome_of(region, region.delivery())).receipt).outcome == "answered"
    region.searcher.calls.clear()
    type(region.sealing_key).opened = 0
    assert (await refusal(region, region.delivery())).code == Code.POLICY_DENIES.value
    colleague = Requester(agency=ASKER, user="m.silva", roles=("requester",))
    other = await outcome_of(region, region.delivery(region.request(requester=colleague)))
    assert region.receipt(other.receipt).outcome == "answered"


# --- After the probe may be opened --------------------------------------------------------------------------


async def test_a_key_sealed_for_another_gallery_does_not_open(region: Region) -> None:
    outcome = await outcome_of(region, region.delivery(sealed_for="eastport-pd/juvenile"))
    receipt = region.receipt(outcome.receipt)
    assert (receipt.outcome, receipt.code) == ("failed", Code.SEAL_BROKEN.value)
    assert region.searcher.calls == []


async def test_another_picture_than_the_signed_one_is_not_searched(region: Region) -> None:
    outcome = await outcome_of(region, region.delivery(picture=b"another face"))
    receipt = region.receipt(outcome.receipt)
    assert (receipt.outcome, receipt.code) == ("failed", Code.SEAL_BROKEN.value)
    assert region.searcher.calls == []


async def test_a_probe_sealed_to_another_key_does_not_open(region: Region) -> None:
    delivery = region.delivery()
    signed = SignedStatement.decode(delivery.request)
    sealed = seal_probe(b"x", signed.digest, {NAME: SealingKey.generate().public()})
    delivery.sealed_key, delivery.ciphertext = sealed.keys[NAME], sealed.ciphertext
    receipt = region.receipt((await outcome_of(region, delivery)).receipt)
    assert receipt.code == Code.SEAL_BROKEN.value


async def test_an_error_of_the_engine_is_a_failed_search_with_its_code(region: Region) -> None:
    region.searcher.error = LiaisonError(Code.NO_FACE)
    receipt = region.receipt((await outcome_of(region, region.delivery())).receipt)
    assert (receipt.outcome, receipt.code) == ("failed", Code.NO_FACE.value)


async def test_a_defect_is_a_failed_search_whose_words_stay_out_of_receipt_and_log(region: Region) -> None:
    region.searcher.error = ValueError("the face of Jane Doe")
    with capture_logs() as logged:
        receipt = region.receipt((await outcome_of(region, region.delivery())).receipt)
    assert (receipt.outcome, receipt.code) == ("failed", Code.INTERNAL.value)
    assert [line["event"] for line in logged] == ["defect", "served"]
    assert logged[0]["kind"] == "ValueError"
    assert "Jane" not in f"{logged}{receipt.reason}"


async def test_a_delivery_without_a_name_gets_no_receipt_and_changes_nothing(region: Region) -> None:
    delivery = region.delivery()
    delivery.delivery_id = "../../etc/passwd"
    with pytest.raises(LiaisonError) as caught:
        await outcome_of(region, delivery)
    assert caught.value.code is Code.REQUEST_INVALID
    assert region.opened == 0

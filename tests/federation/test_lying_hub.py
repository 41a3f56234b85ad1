"""Promises 2, 3, 4 and 5 against a hub that lies: a fake one with the real one's keys, in front of real nodes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from agency_node.config import load_node
from demo.stage import CommandFailedError, Daemon
from federation.canonical import b64, stamp
from federation.errors import CATALOGUE, Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.keys import new_signing_key
from federation.identity.node import NodeStatement, PolicyStatement
from federation.identity.statement import SignedStatement, sign
from federation.log import NoteSigner
from federation.probe.answer import Receipt
from federation.probe.envelope import open_probe
from protos.liaison.v1 import broker_pb2 as pb
from protos.liaison.v1 import registry_pb2

AGENCIES = ("mill-creek-pd", "san-joaquin-so", "eastport-pd")
GALLERY, STRICT = "san-joaquin-so/booking", "eastport-pd/booking"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def older_bundle(federation: Any) -> bytes:
    """The region's bundle before the coordinator published the one that is in force now."""
    stage = federation.stage
    before: bytes = (stage.hub_home / "region.json").read_bytes()
    region = stage.folder / "region.yaml"
    region.write_text(
        (stage.policies / "region.yaml")
        .read_text()
        .replace("version: 3", "version: 4")
        .replace(
            "refuse:",
            "refuse:\n  - {id: no-kidnapping, says: Not in kidnapping cases., offenses: ['nibrs:100']}",
            1,
        )
    )
    stage.run_hub("policy", "publish", "--region", str(region), "--offline", str(stage.offline))
    return before


@pytest.fixture(scope="module")
def lying(federation: Any, older_bundle: bytes, lying_hub: Any) -> Any:
    lying_hub.wait_for(*AGENCIES)
    return lying_hub


def receipt_of(outcome: pb.Outcome, lying: Any) -> Receipt:
    """The receipt of an outcome, if the gallery's own agency signed it."""
    agency = outcome.delivery_id.split("/")[1]
    now = datetime.now(UTC)
    signed = SignedStatement.decode(outcome.receipt)
    return Receipt.decode(lying.hub.trust(now).verify(signed, "receipt", now, agency=agency))


def check_refused(federation: Any, lying: Any, outcome: pb.Outcome, code: Code) -> Receipt:
    """It was refused with this code and a signed receipt, and the gallery was not searched."""
    receipt = receipt_of(outcome, lying)
    assert (receipt.outcome, receipt.code) == ("refused_by_node", code.value)
    assert outcome.sealed_answer == b""
    request, _, gallery = outcome.delivery_id.partition("/")
    assert not federation.was_searched(request, gallery)
    return receipt


def test_a_hub_that_for_once_tells_the_truth_gets_its_answer(federation: Any, lying: Any) -> None:
    """The control: whatever is refused below is refused for what is wrong with it."""
    asked = federation.prepared(GALLERY)
    outcome = lying.deliver(lying.delivery(asked, GALLERY, lying.enter(asked)))
    assert receipt_of(outcome, lying).outcome == "answered"
    assert federation.was_searched(asked.request.id, GALLERY)


# --- Promise 2: logged before searched ----------------------------------------------------------------------


def by_the_proof_of_another_request(lying: Any, asked: Any, other: Any) -> Any:
    return lying.enter(asked, of=other)


def by_an_entry_with_another_purpose(lying: Any, asked: Any, other: Any) -> Any:
    return lying.enter(asked, purpose="missing-person")


def by_an_entry_that_hides_a_gallery(lying: Any, asked: Any, other: Any) -> Any:
    return lying.enter(asked, galleries=[])


def by_an_entry_that_commits_to_other_bytes(lying: Any, asked: Any, other: Any) -> Any:
    return lying.enter(replace(asked, statement=other.statement))


def by_an_entry_that_never_went_into_the_tree(lying: Any, asked: Any, other: Any) -> Any:
    honest = lying.enter(other)
    unlogged = lying.enter(asked)
    lying.log.entries.pop()
    unlogged.checkpoint, unlogged.index = honest.checkpoint, honest.index
    del unlogged.inclusion[:]
    unlogged.inclusion.extend(honest.inclusion)
    return unlogged


def by_a_salt_of_its_own(lying: Any, asked: Any, other: Any) -> Any:
    proof = lying.enter(asked)
    proof.salt = bytes(32)
    return proof


@pytest.mark.parametrize(
    "proved",
    [
        by_the_proof_of_another_request,
        by_an_entry_with_another_purpose,
        by_an_entry_that_hides_a_gallery,
        by_an_entry_that_commits_to_other_bytes,
        by_an_entry_that_never_went_into_the_tree,
        by_a_salt_of_its_own,
    ],
)
def test_a_signed_request_that_is_not_proven_to_be_logged_is_refused(
    federation: Any, lying: Any, proved: Any
) -> None:
    asked, other = federation.prepared(GALLERY), federation.prepared(GALLERY)
    outcome = lying.deliver(lying.delivery(asked, GALLERY, proved(lying, asked, other)))
    check_refused(federation, lying, outcome, Code.PROOF_INVALID)


def test_a_signed_request_without_any_proof_is_refused(federation: Any, lying: Any) -> None:
    asked = federation.prepared(GALLERY)
    outcome = lying.deliver(lying.delivery(asked, GALLERY, pb.LogProof()))
    receipt = receipt_of(outcome, lying)
    assert receipt.outcome == "refused_by_node"
    assert not federation.was_searched(asked.request.id, GALLERY)


def test_a_checkpoint_that_the_logs_key_did_not_sign_proves_nothing(federation: Any, lying: Any) -> None:
    asked = federation.prepared(GALLERY)
    genuine = lying.log.signer
    proof = lying.enter(asked)
    try:
        lying.log.signer = NoteSigner(genuine.name, new_signing_key())
        proof.checkpoint = lying.log.note()
    finally:
        lying.log.signer = genuine
    outcome = lying.deliver(lying.delivery(asked, GALLERY, proof))
    check_refused(federation, lying, outcome, Code.CHECKPOINT_INVALID)


# --- Promise 3: every rule must agree -----------------------------------------------------------------------


def test_what_the_hub_permits_the_node_refuses_by_the_name_of_its_own_rule(
    federation: Any, lying: Any
) -> None:
    asked = federation.prepared(STRICT)
    outcome = lying.deliver(lying.delivery(asked, STRICT, lying.enter(asked)))
    receipt = check_refused(federation, lying, outcome, Code.POLICY_DENIES)
    assert (receipt.rules[0].source, receipt.rules[0].id) == ("eastport-pd", "no-robbery-until-mou")


def test_a_permissive_policy_that_the_hub_signed_does_not_stand_in_for_the_requesters(
    federation: Any, lying: Any
) -> None:
    asked = federation.prepared(GALLERY)
    genuine = SignedStatement.decode(lying.agencies["mill-creek-pd"].policy)
    forged = sign("policy", genuine.payload, *lying.hub.load_hub_signer())
    delivery = lying.delivery(asked, GALLERY, lying.enter(asked), requester_policy=forged.encode())
    check_refused(federation, lying, lying.deliver(delivery), Code.NOT_AUTHORIZED)


def test_another_version_of_the_requesters_policy_than_the_request_names_is_refused(
    federation: Any, lying: Any
) -> None:
    """The agency did sign it, once: whoever holds the hub may have kept it from a time when more was permitted."""
    asked = federation.prepared(GALLERY)
    genuine = SignedStatement.decode(lying.agencies["mill-creek-pd"].policy)
    statement = PolicyStatement.decode(genuine.payload)
    other = statement.model_copy(update={"text": statement.text + "# as it was before\n"})
    signer = load_node(federation.stage.node_home("mill-creek-pd")).signer()
    signed = sign("policy", other.encode(), signer, genuine.certificate)
    delivery = lying.delivery(asked, GALLERY, lying.enter(asked), requester_policy=signed.encode())
    check_refused(federation, lying, lying.deliver(delivery), Code.SIGNATURE_INVALID)


def test_an_older_region_bundle_does_not_bring_back_what_the_newer_one_forbids(
    federation: Any, lying: Any, older_bundle: bytes
) -> None:
    log = federation.process("san-joaquin-so").log
    before = log.read_text().count('"policy-rollback"')
    lying.send("san-joaquin-so", pb.OpenResponse(region=pb.Region(region_bundle=older_bundle)))
    federation.eventually(lambda: log.read_text().count('"policy-rollback"') > before)
    asked = federation.prepared(GALLERY, offense="nibrs:100")
    outcome = lying.deliver(lying.delivery(asked, GALLERY, lying.enter(asked)))
    receipt = check_refused(federation, lying, outcome, Code.POLICY_DENIES)
    assert (receipt.rules[0].source, receipt.rules[0].id) == ("region", "no-kidnapping")


# --- Promise 4: the hub is blind ----------------------------------------------------------------------------


def test_nothing_is_sealed_to_a_key_that_the_hub_puts_into_the_directory(federation: Any, lying: Any) -> None:
    attacker = SealingKey.generate()
    genuine = lying.directory
    lying.directory = [_with_key(node, attacker, lying) for node in genuine]
    try:
        with pytest.raises(CommandFailedError) as named:
            federation.search("--gallery", GALLERY)
        assert (named.value.code, named.value.error["error"]) == (54, "gallery-unknown")
        assert "signature" in named.value.said or "not-authorized" in named.value.said
        assert lying.submitted == []
        with pytest.raises(CommandFailedError) as asked:
            federation.search()
    finally:
        lying.directory = genuine
    assert asked.value.code != 0
    [submitted] = lying.submitted
    lying.submitted.clear()
    request = SignedStatement.decode(submitted.request)
    assert [key.gallery for key in submitted.keys] == [STRICT]
    for key in submitted.keys:
        with pytest.raises(LiaisonError):
            open_probe(submitted.ciphertext, key.sealed_key, request.digest, key.gallery, attacker)


def _with_key(node: Any, attacker: SealingKey, lying: Any) -> Any:
    """San Joaquin's statement with the attacker's sealing key, signed by the best key that the attacker has."""
    if node.agency != "san-joaquin-so":
        return node
    statement = NodeStatement.decode(SignedStatement.decode(node.statement).payload)
    changed = statement.model_copy(
        update={"sealing_key": b64(attacker.public()), "issued_at": stamp(datetime.now(UTC))}
    )
    signed = sign("node", changed.encode(), *lying.hub.load_hub_signer())
    return registry_pb2.DirectoryNode(agency=node.agency, node=node.node, statement=signed.encode())


# --- Promise 5: "not searched" never looks like "no match" --------------------------------------------------


def answered_without_a_receipt() -> list[pb.CollectedDelivery]:
    status = pb.DeliveryStatus(gallery=GALLERY, state="answered", reason="Searched; no candidates.")
    return [pb.CollectedDelivery(status=status, sealed_answer=b"x" * 2000)]


def dropped_in_silence() -> list[pb.CollectedDelivery]:
    return []


def said_twice() -> list[pb.CollectedDelivery]:
    return answered_without_a_receipt() * 2


def in_a_state_of_its_own() -> list[pb.CollectedDelivery]:
    return [
        pb.CollectedDelivery(status=pb.DeliveryStatus(gallery=GALLERY, state="no_match", reason="No match."))
    ]


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (answered_without_a_receipt, Code.SIGNATURE_INVALID),
        (dropped_in_silence, Code.STATE_CONFLICT),
        (said_twice, Code.STATE_CONFLICT),
        (in_a_state_of_its_own, Code.STATE_CONFLICT),
    ],
)
def test_a_gallery_that_the_hub_drops_or_lies_about_is_shown_as_failed(
    federation: Any, lying: Any, told: Any, code: Code
) -> None:
    lying.collected = told
    result = federation.search("--gallery", GALLERY, accept=(CATALOGUE[code].exit,))
    [delivery] = result["deliveries"]
    assert (delivery["status"], delivery["code"]) == ("failed", code.value)
    assert delivery["reason"].startswith("No usable answer")
    assert delivery["candidates"] == []
    assert delivery["receipt"] is None


def test_a_refusal_that_the_hub_relays_as_an_answer_is_shown_as_failed(federation: Any, lying: Any) -> None:
    """The node's genuine, signed refusal beside a status that says `answered`."""
    handed_in = federation.search("--no-wait", "--gallery", STRICT)
    submitted = lying.submitted[-1]
    outcome = lying.deliver(
        pb.Delivery(
            delivery_id=f"{handed_in['id']}/{STRICT}",
            request=submitted.request,
            requester_policy=lying.agencies["mill-creek-pd"].policy,
            sealed_key=submitted.keys[0].sealed_key,
            ciphertext=submitted.ciphertext,
        )
    )
    assert receipt_of(outcome, lying).outcome == "refused_by_node"
    status = pb.DeliveryStatus(gallery=STRICT, state="answered", reason="Searched; no candidates.")
    lying.collected = lambda: [pb.CollectedDelivery(status=status, receipt=outcome.receipt)]
    result = federation.search("--resume", handed_in["id"], accept=(26,))
    [delivery] = result["deliveries"]
    assert (delivery["status"], delivery["code"]) == ("failed", "signature-invalid")
    assert delivery["candidates"] == []


# --- Promise 2 again, last: these end a node ----------------------------------------------------------------


def test_a_forked_log_ends_the_node_and_is_kept_as_evidence_until_its_operator_has_acknowledged_it(
    federation: Any, lying: Any
) -> None:
    stage, node = federation.stage, federation.process("eastport-pd")
    asked = federation.prepared(STRICT, offense="nibrs:09A")
    lying.enter(asked)
    lying.send("eastport-pd", pb.OpenResponse(checkpoint=pb.Checkpoint(note=lying.log.note())))
    size = len(lying.log.entries)
    federation.eventually(lambda: stage.run_node("eastport-pd", "status")["log"]["size"] == size)
    genuine = lying.log
    lying.log = genuine.fork()
    try:
        delivery = lying.delivery(asked, STRICT, lying.enter(asked))
        outcome = lying.deliver(delivery)
        check_refused(federation, lying, outcome, Code.CHECKPOINT_INCONSISTENT)
        assert node.wait() == CATALOGUE[Code.CHECKPOINT_INCONSISTENT].exit == 43
    finally:
        forked, lying.log = lying.log, genuine
    [(known, refused)] = federation.node_rows("eastport-pd", "SELECT known, refused FROM evidence")
    assert (known, refused) == (genuine.note(), forked.note())
    checks = stage.run_node("eastport-pd", "doctor", accept=(43,))
    assert [(c["name"], c["code"]) for c in checks if not c["ok"]] == [("log", "checkpoint-inconsistent")]
    with pytest.raises(CommandFailedError) as stays_down:
        stage.start_node("eastport-pd")
    assert stays_down.value.code == 43

    again = Daemon([*node.command, "--acknowledge"], node.log, node.environment)
    stage.nodes["eastport-pd"] = again
    again.start()  # its operator has shown the evidence to the auditor: it goes on from the last good checkpoint
    assert all(check["ok"] for check in stage.run_node("eastport-pd", "doctor"))
    assert len(federation.node_rows("eastport-pd", "SELECT id FROM evidence")) == 1

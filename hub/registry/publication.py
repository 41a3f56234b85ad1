"""Taking in what agencies say, and listing it: policies and node statements, each signed with the agency's own key.

Rules kept: the caller's agency signed it, under the region's root; it is about that agency and, for a node
statement, about the calling node; a version never goes back and never changes; a node statement is not older than
the one that is known. All statements of one call are taken or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from federation.canonical import unb64, unstamp
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import PUBLIC_BYTES
from federation.identity.node import NodeStatement, PolicyStatement
from federation.identity.region import Trust
from federation.identity.spiffe import SpiffeId
from federation.identity.statement import SignedStatement
from federation.log import EntryType, KeyType, parse_vkey
from federation.policy.load import digest as policy_digest
from federation.policy.load import load_agency
from hub.registry.joining import MOST_SKEW
from hub.store.members import Members
from hub.store.tables import AgencyRow, NodeRow
from hub.store.writer import Transaction

MOST_STATEMENTS = 8


def publish(transaction: Transaction, trust: Trust, caller: SpiffeId, statements: Sequence[bytes]) -> None:
    """Verify, store and log what a node publishes for its agency.

    Raises LiaisonError: REQUEST_INVALID, SIGNATURE_INVALID, CERTIFICATE_INVALID, CERTIFICATE_REVOKED, NOT_AUTHORIZED,
    AGENCY_NOT_CONFIRMED, POLICY_INVALID, POLICY_ROLLBACK, CLOCK_SKEW.
    """
    assert caller.agency is not None
    assert caller.node is not None
    if not 0 < len(statements) <= MOST_STATEMENTS:
        raise LiaisonError(Code.REQUEST_INVALID, f"Publish 1 to {MOST_STATEMENTS} statements at a time.")
    members = Members(transaction.session)
    agency = members.agency(caller.agency)
    node = members.node(caller.agency, caller.node)
    if agency.signing_certificate is None:
        raise LiaisonError(Code.AGENCY_NOT_CONFIRMED)
    signed = [SignedStatement.decode(data) for data in statements]
    if not {statement.kind for statement in signed} <= {"policy", "node"}:
        raise LiaisonError(Code.REQUEST_INVALID, "Only statements of kind policy and node are published.")
    # Policies first: a node statement is compared with the policy that stands beside it.
    for statement in sorted(signed, key=lambda s: s.kind != "policy"):
        payload = trust.verify(statement, statement.kind, transaction.at, agency=caller.agency)
        if statement.kind == "policy":
            _take_policy(transaction, agency, statement, PolicyStatement.decode(payload))
        else:
            _take_node(transaction, agency, node, statement, NodeStatement.decode(payload))


def _take_policy(
    transaction: Transaction, agency: AgencyRow, signed: SignedStatement, statement: PolicyStatement
) -> None:
    policy = load_agency(statement.text, f"{agency.id}.yaml")
    if not statement.agency == policy.agency == agency.id:
        raise LiaisonError(Code.NOT_AUTHORIZED, "The policy is another agency's.")
    if statement.version != policy.version:
        raise LiaisonError(Code.POLICY_INVALID, "Its version is not the one that the statement gives.")
    digest = policy_digest(statement.text.encode())
    known = agency.policy_version or 0
    if policy.version < known or (policy.version == known and digest != agency.policy_digest):
        raise LiaisonError(
            Code.POLICY_ROLLBACK, f"Version {policy.version} was offered where version {known} is in force."
        )
    agency.policy = signed.encode()
    if digest == agency.policy_digest:
        return
    agency.policy_version, agency.policy_digest = policy.version, digest
    transaction.append(EntryType.POLICY, {"agency": agency.id, "version": policy.version, "digest": digest})


def _take_node(
    transaction: Transaction,
    agency: AgencyRow,
    node: NodeRow,
    signed: SignedStatement,
    statement: NodeStatement,
) -> None:
    if (statement.agency, statement.node) != (node.agency, node.node):
        raise LiaisonError(Code.NOT_AUTHORIZED, "The statement is about another node.")
    _check_node_statement(transaction, statement)
    before = NodeStatement.decode(SignedStatement.decode(node.statement).payload) if node.statement else None
    if before is not None and unstamp(statement.issued_at) < unstamp(before.issued_at):
        raise LiaisonError(Code.POLICY_ROLLBACK, "The node has published a newer statement about itself.")
    if before is None or _public(before) != _public(statement):
        transaction.append(
            EntryType.NODE,
            {"agency": node.agency, "node": node.node, "event": "published", **_public(statement)},
        )
    if statement.policy_digest != agency.policy_digest and statement.policy_digest != node.policy_digest:
        transaction.append(
            EntryType.DIVERGENCE,
            {
                "agency": node.agency,
                "node": node.node,
                "hub_digest": agency.policy_digest,
                "node_digest": statement.policy_digest,
            },
        )
    node.statement, node.policy_digest = signed.encode(), statement.policy_digest


def _check_node_statement(transaction: Transaction, statement: NodeStatement) -> None:
    if unstamp(statement.issued_at) > transaction.at + MOST_SKEW:
        raise LiaisonError(Code.CLOCK_SKEW, "A node statement is dated in the future.")
    if len(unb64(statement.sealing_key)) != PUBLIC_BYTES:
        raise LiaisonError(Code.REQUEST_INVALID, "The node's sealing key has the wrong length.")
    if parse_vkey(statement.witness_vkey).type is not KeyType.COSIGNATURE:
        raise LiaisonError(Code.REQUEST_INVALID, "The node's witness key is not one for cosignatures.")
    names = [gallery.name for gallery in statement.galleries]
    if len(set(names)) != len(names):
        raise LiaisonError(Code.REQUEST_INVALID, "A gallery is named twice.")


def _public(statement: NodeStatement) -> dict[str, Any]:
    """What the log keeps of a node statement: keys and galleries, not how much is in them today."""
    return {
        "sealing_key": policy_digest(statement.sealing_key.encode()),
        "witness_vkey": statement.witness_vkey,
        "galleries": [
            {"name": gallery.name, "kind": gallery.kind, "engine": gallery.engine}
            for gallery in statement.galleries
        ],
    }

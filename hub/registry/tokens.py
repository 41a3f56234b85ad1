"""Join tokens: made here, shown once, of which the hub keeps the digest of the secret only."""

from __future__ import annotations

import secrets
from datetime import timedelta

from federation.canonical import stamp, unstamp
from federation.errors import Code, LiaisonError
from federation.identity.certificates import root_fingerprint
from federation.identity.token import JoinToken
from hub.config import Hub
from hub.store.members import Members
from hub.store.tables import TokenRow
from hub.store.writer import Transaction

TOKEN_LIFE = timedelta(hours=24)
LONGEST_LIFE = timedelta(days=14)


def make_token(transaction: Transaction, hub: Hub, agency: str, life: timedelta = TOKEN_LIFE) -> JoinToken:
    """A token for one node of one agency. Raises LiaisonError(AGENCY_UNKNOWN, NOT_AUTHORIZED, REQUEST_INVALID)."""
    if not timedelta(0) < life <= LONGEST_LIFE:
        raise LiaisonError(Code.REQUEST_INVALID, f"A token lives at most {LONGEST_LIFE.days} days.")
    row = Members(transaction.session).agency(agency)
    if row.suspended_at is not None:
        raise LiaisonError(Code.NOT_AUTHORIZED, f"The agency {agency} is suspended.")
    token = JoinToken(
        region=hub.region,
        agency=agency,
        join=hub.join_address,
        broker=hub.broker_address,
        root=root_fingerprint(hub.root()),
        expires=stamp(transaction.at + life),
        secret=secrets.token_urlsafe(32),
    )
    transaction.session.add(
        TokenRow(
            secret_sha256=token.secret_sha256,
            agency=agency,
            created_at=transaction.now,
            expires_at=token.expires,
        )
    )
    return token


def use_token(transaction: Transaction, secret_sha256: str, agency: str, node: str) -> None:
    """Use up the token of a secret for a node of an agency: within the transaction that registers the node.

    The lookup is by digest, so that the time it takes says nothing about the secret.

    Raises LiaisonError: TOKEN_INVALID (unknown, or another agency's), TOKEN_USED, TOKEN_EXPIRED.
    """
    row = transaction.session.get(TokenRow, secret_sha256)
    if row is None:
        raise LiaisonError(Code.TOKEN_INVALID)
    if row.agency != agency:
        raise LiaisonError(Code.TOKEN_INVALID, "It was made for another agency.")
    if row.used_at is not None:
        raise LiaisonError(Code.TOKEN_USED)
    if transaction.at >= unstamp(row.expires_at):
        raise LiaisonError(Code.TOKEN_EXPIRED)
    row.used_at, row.used_by = transaction.now, node

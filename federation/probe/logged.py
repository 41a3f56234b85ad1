"""What the log says of a request in public, and the check that an entry speaks of exactly this request.

Case number, user and narrative are not here: they are in the payload, which the entry commits to with a salt.
"""

from __future__ import annotations

from federation.errors import Code, LiaisonError
from federation.log.entry import EntryType, Json, LogEntry, open_commitment
from federation.probe.request import ProbeRequest


def request_facts(request: ProbeRequest) -> dict[str, Json]:
    """The public facts of a `request` entry; beneficiary and offence are left out when the request names none."""
    facts: dict[str, Json] = {
        "request": request.id,
        "requester": request.requester.agency,
        "purpose": request.purpose,
        "probe_source": request.probe_source,
        "galleries": list(request.galleries),
        "created_at": request.created_at,
        "expires_at": request.expires_at,
    }
    if request.beneficiary is not None:
        facts["beneficiary"] = request.beneficiary
    if request.offense is not None:
        facts["offense"] = request.offense
    return facts


def check_logged(entry: LogEntry, request: ProbeRequest, payload: bytes, salt: bytes) -> None:
    """Check that an entry is the record of this request: its type, its facts, and its commitment to `payload`.

    `payload` is the request's canonical bytes, `salt` the commitment's 32 bytes.
    Raises LiaisonError(PROOF_INVALID) naming what differs.
    """
    if entry.type is not EntryType.REQUEST:
        raise LiaisonError(Code.PROOF_INVALID, "The entry is not that of a request.")
    if dict(entry.facts) != request_facts(request):
        raise LiaisonError(Code.PROOF_INVALID, "The entry states other facts than the request.")
    if entry.commitment is None or not open_commitment(entry.commitment, payload, salt):
        raise LiaisonError(Code.PROOF_INVALID, "The entry does not commit to this request.")

"""Logged before searched, as the requester checks it: the request is in the log that this node has followed so far."""

from __future__ import annotations

from agency_node.desk.submit import Prepared
from agency_node.link.witness import LogWitness, Offered
from federation.errors import Code, LiaisonError
from federation.log import Checkpoint, parse_entry
from federation.probe.answer import SubmissionReceipt
from federation.probe.logged import check_logged
from protos.liaison.v1 import broker_pb2


async def prove(
    proof: broker_pb2.LogProof, submission: SubmissionReceipt, prepared: Prepared, witness: LogWitness
) -> Checkpoint:
    """Check that the hub's log has this request, in a checkpoint consistent with the last one that this node saw.

    Raises LiaisonError(CHECKPOINT_INVALID, CHECKPOINT_INCONSISTENT or PROOF_INVALID); two checkpoints that
    contradict each other are kept as evidence.
    """
    if proof.index != submission.log_index:
        raise LiaisonError(Code.PROOF_INVALID, "The hub proves another entry than its receipt names.")
    check_logged(parse_entry(proof.entry), prepared.request, prepared.statement.payload, proof.salt)
    checkpoint = await witness.see(proof.checkpoint, Offered(proof.since, list(proof.consistency)))
    witness.check_inclusion(proof.entry, proof.index, checkpoint, list(proof.inclusion))
    return checkpoint

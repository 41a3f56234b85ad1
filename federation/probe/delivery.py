"""The states of a delivery (one request at one gallery), as a table that hub and desk both read.

                 ┌─► awaiting_approval ─┐
    (new) ─► queued ─► dispatched ─► claimed ─► answered | refused_by_node | failed
       │        └────────┴─────────────┴─────► expired, cancelled;  queued ─► unreachable
       └─► refused_by_hub

`dispatched` may go back to `queued` when the node's link breaks before it claimed; `claimed` stays, since the node
has the delivery on its disk and answers it when it is back.
"""

from __future__ import annotations

from enum import Enum

from federation.errors import Code, LiaisonError


class DeliveryState(str, Enum):
    """Where a delivery stands."""

    QUEUED = "queued"
    DISPATCHED = "dispatched"
    CLAIMED = "claimed"
    ANSWERED = "answered"
    REFUSED_BY_HUB = "refused_by_hub"
    REFUSED_BY_NODE = "refused_by_node"
    AWAITING_APPROVAL = "awaiting_approval"
    EXPIRED = "expired"
    UNREACHABLE = "unreachable"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = DeliveryState
_ENDINGS = frozenset({S.ANSWERED, S.REFUSED_BY_NODE, S.FAILED, S.EXPIRED, S.CANCELLED})
TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    S.QUEUED: frozenset({S.DISPATCHED, S.UNREACHABLE, S.CANCELLED}),
    S.AWAITING_APPROVAL: frozenset({S.QUEUED, S.EXPIRED, S.CANCELLED}),
    S.DISPATCHED: frozenset({S.QUEUED, S.CLAIMED}) | _ENDINGS,
    S.CLAIMED: _ENDINGS,
    **dict.fromkeys(
        (S.ANSWERED, S.REFUSED_BY_HUB, S.REFUSED_BY_NODE, S.EXPIRED, S.UNREACHABLE, S.FAILED, S.CANCELLED),
        frozenset[DeliveryState](),
    ),
}
TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)
SENTENCES: dict[DeliveryState, str] = {
    S.QUEUED: "Waiting for the agency's node.",
    S.DISPATCHED: "Sent to the agency's node.",
    S.CLAIMED: "The agency's node is searching.",
    S.ANSWERED: "Searched; the answer is here.",
    S.REFUSED_BY_HUB: "Not searched: refused by policy.",
    S.REFUSED_BY_NODE: "Not searched: refused by the agency's node.",
    S.AWAITING_APPROVAL: "Not searched yet: an approval is missing.",
    S.EXPIRED: "Not searched in time.",
    S.UNREACHABLE: "Not searched: the agency's node was not connected.",
    S.FAILED: "Not searched: the search failed at the agency's node.",
    S.CANCELLED: "Not searched: the request was cancelled.",
}


def advance(state: DeliveryState, following: DeliveryState) -> DeliveryState:
    """`following`, if it may come after `state`. Raises LiaisonError(STATE_CONFLICT)."""
    if following not in TRANSITIONS[state]:
        raise LiaisonError(
            Code.STATE_CONFLICT, f"A delivery cannot go from {state.value} to {following.value}."
        )
    return following


def at_deadline(state: DeliveryState) -> DeliveryState:
    """Where a delivery ends when its deadline passes: `unreachable` if no node ever took it, else `expired`."""
    if state in TERMINAL:
        return state
    return S.UNREACHABLE if state is S.QUEUED else S.EXPIRED

"""The Merkle tree of the log: roots, inclusion proofs and consistency proofs (RFC 9162, section 2.1).

Nothing here knows where hashes are stored. A `NodeReader` gives the hash of a complete subtree: `read(level,
index)` is the root over the entries from `index * 2**level` up to, not including, `(index + 1) * 2**level`, so that
level 0 holds the leaf hashes. A complete subtree never changes, which is what makes the log append-only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from federation.errors import Code, LiaisonError

HASH_BYTES = 32

NodeReader = Callable[[int, int], bytes]
Node = tuple[int, int, bytes]


def empty_root() -> bytes:
    """Give the root of a log without entries: the SHA-256 of nothing."""
    return hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Hash one entry as a leaf.

    The prefix byte 0x00 (0x01 for nodes) keeps anybody from passing off a node as an entry.
    """
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two neighbouring subtrees, 32 bytes each, into their parent."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def append_nodes(size: int, leaf_hashes: Sequence[bytes], read: NodeReader) -> list[Node]:
    """List every node that becomes complete when leaves are appended to a tree of `size` leaves.

    Returns (level, index, hash) from level 0 upwards, each level in order of index. From the old tree only the
    right edge is read, at most one node a level, so the cost is proportional to the number of new leaves.

    Raises:
        LiaisonError: INTERNAL if a leaf hash is not 32 bytes long.
    """
    if any(len(leaf) != HASH_BYTES for leaf in leaf_hashes):
        raise LiaisonError(Code.INTERNAL, "A leaf hash is not 32 bytes long.")
    nodes: list[Node] = []
    level, start, row = 0, size, list(leaf_hashes)
    while row:
        nodes.extend((level, start + offset, digest) for offset, digest in enumerate(row))
        if start % 2:
            start -= 1
            row.insert(0, read(level, start))
        row = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        level, start = level + 1, start // 2
    return nodes


def root(size: int, read: NodeReader) -> bytes:
    """Give the root of the first `size` leaves (RFC 9162, section 2.1.1)."""
    return _range_root(0, size, read) if size else empty_root()


def inclusion_proof(index: int, size: int, read: NodeReader) -> list[bytes]:
    """Prove that leaf `index` is in the tree of the first `size` leaves (RFC 9162, section 2.1.3.1).

    Raises:
        LiaisonError: REQUEST_INVALID if there is no such leaf.
    """
    if not 0 <= index < size:
        raise LiaisonError(Code.REQUEST_INVALID, f"A log of {size} entries has no entry {index}.")
    proof: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _largest_power_below(end - begin)
        if index < middle:
            proof.append(_range_root(middle, end, read))
            end = middle
        else:
            proof.append(_range_root(begin, middle, read))
            begin = middle
    proof.reverse()
    return proof


def consistency_proof(first: int, second: int, read: NodeReader) -> list[bytes]:
    """Prove that the tree of `first` leaves is a prefix of the tree of `second` (RFC 9162, section 2.1.4.1).

    The proof is empty when `first` is 0 or equal to `second`: there is nothing to prove then.

    Raises:
        LiaisonError: REQUEST_INVALID unless 0 <= first <= second.
    """
    if not 0 <= first <= second:
        raise LiaisonError(
            Code.REQUEST_INVALID, f"A log of {first} entries does not come before one of {second}."
        )
    if first in (0, second):
        return []
    proof: list[bytes] = []
    begin, end = 0, second
    while first != end:
        middle = begin + _largest_power_below(end - begin)
        if first <= middle:
            proof.append(_range_root(middle, end, read))
            end = middle
        else:
            proof.append(_range_root(begin, middle, read))
            begin = middle
    if begin:
        # The old tree's last subtree is not its whole root, so the verifier cannot know its hash.
        proof.append(_range_root(begin, end, read))
    proof.reverse()
    return proof


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes
) -> None:
    """Check that a leaf hash is at `index` in the tree with that size and root (RFC 9162, section 2.1.3.2).

    Raises:
        LiaisonError: PROOF_INVALID if it is not proven; a proof longer or shorter than it has to be is no proof.
    """
    if not 0 <= index < size:
        raise LiaisonError(Code.PROOF_INVALID, f"A log of {size} entries has no entry {index}.")
    if not _are_hashes(leaf, expected_root, *proof):
        raise LiaisonError(Code.PROOF_INVALID, "The inclusion proof holds something that is not a hash.")
    running = leaf
    position, last = index, size - 1
    for sibling in proof:
        if last == 0:
            raise LiaisonError(Code.PROOF_INVALID, "The inclusion proof is too long.")
        if position % 2 or position == last:
            running = node_hash(sibling, running)
            while position and not position % 2:
                position, last = position // 2, last // 2
        else:
            running = node_hash(running, sibling)
        position, last = position // 2, last // 2
    if last:
        raise LiaisonError(Code.PROOF_INVALID, "The inclusion proof is too short.")
    if running != expected_root:
        raise LiaisonError(Code.PROOF_INVALID, "The inclusion proof leads to another root.")


def verify_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Check that the tree of `first` leaves is a prefix of the tree of `second` (RFC 9162, section 2.1.4.2).

    Raises:
        LiaisonError: CHECKPOINT_INCONSISTENT if that is not proven.
    """
    if not 0 <= first <= second:
        raise _inconsistent(f"It went from {first} entries to {second}.")
    if not _are_hashes(first_root, second_root, *proof):
        raise _inconsistent("The consistency proof holds something that is not a hash.")
    if first in (0, second):
        known = second_root if first == second else empty_root()
        if proof or first_root != known:
            raise _inconsistent(f"Two roots are claimed for {first} entries, or the proof is not empty.")
        return
    _fold_consistency(first, second, proof, first_root, second_root)


def _fold_consistency(
    first: int, second: int, proof: Sequence[bytes], first_root: bytes, second_root: bytes
) -> None:
    """Fold the proof up both trees at once, for 0 < first < second."""
    # A tree whose size is a power of two is itself the first subtree, and is left out of the proof.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        raise _inconsistent("The consistency proof is too short.")
    position, last = first - 1, second - 1
    while position % 2:
        position, last = position // 2, last // 2
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise _inconsistent("The consistency proof is too long.")
        if position % 2 or position == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while position and not position % 2:
                position, last = position // 2, last // 2
        else:
            new = node_hash(new, sibling)
        position, last = position // 2, last // 2
    if last:
        raise _inconsistent("The consistency proof is too short.")
    if old != first_root or new != second_root:
        raise _inconsistent(f"The first {first} of {second} entries are not the {first} entries of before.")


def _range_root(begin: int, end: int, read: NodeReader) -> bytes:
    """Give the root over the leaves from `begin` to `end`, where `begin` is aligned as RFC 9162 splits trees."""
    parts: list[bytes] = []
    for level in range((end - begin).bit_length() - 1, -1, -1):
        if (end - begin) >> level & 1:
            parts.append(read(level, begin >> level))
            begin += 1 << level
    running = parts.pop()
    while parts:
        running = node_hash(parts.pop(), running)
    return running


def _largest_power_below(count: int) -> int:
    """Give the largest power of two smaller than `count`, for count > 1."""
    return 1 << (count - 1).bit_length() - 1


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_BYTES for value in values)


def _inconsistent(detail: str) -> LiaisonError:
    return LiaisonError(Code.CHECKPOINT_INCONSISTENT, detail)

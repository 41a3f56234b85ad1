"""The Merkle tree against its definition, against vectors that others wrote, and against forgers."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.log import merkle

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "merkle"
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="../shared/vectors is not on this machine")

# The eight leaves with which the Certificate Transparency libraries test, and the root after each of them.
LEAVES = [bytes.fromhex(leaf) for leaf in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Tree:
    """The tree as RFC 9162 defines it, by recursion, beside the one under test."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self.hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
        self.nodes = {(level, index): h for level, index, h in merkle.append_nodes(0, self.hashes, self.read)}

    def read(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]

    def defined_root(self, begin: int, end: int) -> bytes:
        if begin == end:
            return hashlib.sha256().digest()
        if end - begin == 1:
            return hashlib.sha256(b"\x00" + self.leaves[begin]).digest()
        split = 1
        while split * 2 < end - begin:
            split *= 2
        left, right = self.defined_root(begin, begin + split), self.defined_root(begin + split, end)
        return hashlib.sha256(b"\x01" + left + right).digest()


def tree_of(size: int) -> Tree:
    return Tree([b"entry %d" % number for number in range(size)])


def proves_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    try:
        merkle.verify_inclusion(leaf, index, size, proof, root)
    except LiaisonError as error:
        if error.code is not Code.PROOF_INVALID:
            raise
        return False
    return True


def proves_consistency(first: int, second: int, proof: list[bytes], old: bytes, new: bytes) -> bool:
    try:
        merkle.verify_consistency(first, second, proof, old, new)
    except LiaisonError as error:
        if error.code is not Code.CHECKPOINT_INCONSISTENT:
            raise
        return False
    return True


def vectors(kind: str) -> list[Path]:
    return sorted((VECTORS / kind).rglob("*.json"))


def hashes(field: list[str] | None) -> list[bytes]:
    return [base64.b64decode(text) for text in field or []]


@needs_vectors
@pytest.mark.parametrize("path", vectors("inclusion"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_inclusion_proofs_of_others_are_judged_as_they_judge_them(path: Path) -> None:
    case = json.loads(path.read_text())
    root, leaf = base64.b64decode(case["root"]), base64.b64decode(case["leafHash"])
    proven = proves_inclusion(leaf, case["leafIdx"], case["treeSize"], hashes(case["proof"]), root)
    assert proven is not case["wantErr"]


@needs_vectors
@pytest.mark.parametrize("path", vectors("consistency"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_consistency_proofs_of_others_are_judged_as_they_judge_them(path: Path) -> None:
    case = json.loads(path.read_text())
    old, new = base64.b64decode(case["root1"]), base64.b64decode(case["root2"])
    proven = proves_consistency(case["size1"], case["size2"], hashes(case["proof"]), old, new)
    assert proven is not case["wantErr"]


@needs_vectors
def test_the_vectors_of_others_are_all_read() -> None:
    assert len(vectors("inclusion")) == 49
    assert len(vectors("consistency")) == 43


def test_known_roots_come_out() -> None:
    assert merkle.empty_root().hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree = Tree(LEAVES)
    assert [merkle.root(size, tree.read).hex() for size in range(1, 9)] == ROOTS


def test_known_proofs_come_out() -> None:
    tree = Tree(LEAVES)
    assert [h.hex()[:8] for h in merkle.inclusion_proof(0, 8, tree.read)] == [
        "96a296d2",
        "5f083f0a",
        "6b47aaf2",
    ]
    assert [h.hex()[:8] for h in merkle.consistency_proof(6, 8, tree.read)] == [
        "0ebc5d34",
        "ca854ea1",
        "d37ee418",
    ]
    assert [h.hex()[:8] for h in merkle.consistency_proof(2, 5, tree.read)] == ["5f083f0a", "bc1a0643"]


def test_every_root_up_to_seventy_entries_is_the_defined_one() -> None:
    tree = tree_of(70)
    for size in range(71):
        assert merkle.root(size, tree.read) == tree.defined_root(0, size)


def test_every_inclusion_proof_up_to_forty_entries_verifies_and_only_at_its_place() -> None:
    tree = tree_of(40)
    for size in range(1, 41):
        root = merkle.root(size, tree.read)
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, tree.read)
            for claimed in range(-1, size + 1):
                assert proves_inclusion(tree.hashes[index], claimed, size, proof, root) is (claimed == index)


def test_every_consistency_proof_up_to_forty_entries_verifies_and_no_other_size_does() -> None:
    tree = tree_of(40)
    roots = [merkle.root(size, tree.read) for size in range(41)]
    for second in range(41):
        for first in range(second + 1):
            proof = merkle.consistency_proof(first, second, tree.read)
            assert proves_consistency(first, second, proof, roots[first], roots[second])
            if 0 < first < second:
                assert not proves_consistency(first, second, proof, roots[first - 1], roots[second])
                assert not proves_consistency(first, second, proof, roots[first], roots[second - 1])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_tree_grown_in_batches_is_the_tree_grown_one_by_one(data: st.DataObject) -> None:
    batches = data.draw(st.lists(st.integers(0, 40), max_size=6))
    whole = tree_of(sum(batches))
    nodes: dict[tuple[int, int], bytes] = {}
    size = 0
    for batch in batches:
        read: list[tuple[int, int]] = []

        def reader(level: int, index: int, read: list[tuple[int, int]] = read) -> bytes:
            read.append((level, index))
            return nodes[level, index]

        added = merkle.append_nodes(size, whole.hashes[size : size + batch], reader)
        assert not nodes.keys() & {(level, index) for level, index, _ in added}
        assert len(read) <= size.bit_length()
        nodes.update({(level, index): digest for level, index, digest in added})
        size += batch
    assert nodes == whole.nodes


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_damaged_inclusion_proof_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    tree = tree_of(size)
    root, leaf = merkle.root(size, tree.read), tree.hashes[index]
    proof = merkle.inclusion_proof(index, size, tree.read)
    assert proves_inclusion(leaf, index, size, proof, root)

    bit = data.draw(st.integers(0, 255))
    assert not proves_inclusion(flip(leaf, bit), index, size, proof, root)
    assert not proves_inclusion(leaf, index, size, proof, flip(root, bit))
    for damaged in damages(data, proof, bit):
        assert not proves_inclusion(leaf, index, size, damaged, root)
    other = data.draw(st.integers(-3, 2 * size + 3).filter(lambda number: number != index))
    assert not proves_inclusion(leaf, other, size, proof, root)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_damaged_consistency_proof_verifies(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, 300))
    first = data.draw(st.integers(1, second))
    tree = tree_of(second)
    old, new = merkle.root(first, tree.read), merkle.root(second, tree.read)
    proof = merkle.consistency_proof(first, second, tree.read)
    assert proves_consistency(first, second, proof, old, new)

    bit = data.draw(st.integers(0, 255))
    assert not proves_consistency(first, second, proof, flip(old, bit), new)
    assert not proves_consistency(first, second, proof, old, flip(new, bit))
    assert not proves_consistency(-first, second, proof, old, new)
    for damaged in damages(data, proof, bit):
        assert not proves_consistency(first, second, damaged, old, new)


def damages(data: st.DataObject, proof: list[bytes], bit: int) -> list[list[bytes]]:
    at = data.draw(st.integers(0, len(proof)))
    extra = data.draw(st.sampled_from([b"", b"\x00" * 32, b"\x01" * 31, b"\x02" * 33, *proof]))
    damaged = [[*proof[:at], extra, *proof[at:]]]
    if proof:
        at %= len(proof)
        damaged.append(proof[:at] + proof[at + 1 :])
        damaged.append([*proof[:at], flip(proof[at], bit), *proof[at + 1 :]])
        damaged.append([*proof[:at], proof[at][:-1], *proof[at + 1 :]])
    return damaged


def flip(digest: bytes, bit: int) -> bytes:
    changed = bytearray(digest)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_an_inclusion_proof_for_another_size_does_not_verify_unless_the_tree_above_is_the_same() -> None:
    tree = tree_of(20)
    for size in range(1, 20):
        proof = merkle.inclusion_proof(0, size, tree.read)
        assert not proves_inclusion(tree.hashes[0], 0, size + 1, proof, merkle.root(size + 1, tree.read))


def test_an_empty_log_is_the_beginning_of_every_log_but_only_with_the_empty_root() -> None:
    tree = tree_of(5)
    root = merkle.root(5, tree.read)
    assert merkle.consistency_proof(0, 5, tree.read) == []
    assert proves_consistency(0, 5, [], merkle.empty_root(), root)
    assert not proves_consistency(0, 5, [], b"\x00" * 32, root)
    assert not proves_consistency(0, 5, [root], merkle.empty_root(), root)


def test_two_roots_for_one_size_are_never_consistent() -> None:
    tree = tree_of(6)
    root, other = merkle.root(6, tree.read), merkle.root(5, tree.read)
    assert proves_consistency(6, 6, [], root, root)
    assert not proves_consistency(6, 6, [], other, root)
    assert not proves_consistency(6, 6, [root], root, root)


def test_a_node_cannot_be_passed_off_as_an_entry() -> None:
    tree = tree_of(2)
    children = tree.hashes[0] + tree.hashes[1]
    assert not proves_inclusion(merkle.leaf_hash(children), 0, 1, [], merkle.root(2, tree.read))


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_there_is_no_proof_of_an_entry_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(LiaisonError) as raised:
        merkle.inclusion_proof(index, size, tree_of(5).read)
    assert raised.value.code is Code.REQUEST_INVALID


@pytest.mark.parametrize(("first", "second"), [(4, 3), (-1, 3)])
def test_there_is_no_proof_that_a_log_shrank(first: int, second: int) -> None:
    with pytest.raises(LiaisonError) as raised:
        merkle.consistency_proof(first, second, tree_of(5).read)
    assert raised.value.code is Code.REQUEST_INVALID


def test_a_leaf_hash_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(LiaisonError) as raised:
        merkle.append_nodes(0, [b"short"], tree_of(1).read)
    assert raised.value.code is Code.INTERNAL

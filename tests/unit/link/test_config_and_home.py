"""A node's home: made whole or not at all, read strictly, changed without losing what people wrote in it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agency_node.config import Node, default_home, load_node, set_entries, write_atomically
from agency_node.home import make_home
from federation.errors import Code, LiaisonError


def refused(home: Path) -> LiaisonError:
    with pytest.raises(LiaisonError) as caught:
        load_node(home)
    return caught.value


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_home_is_private_and_refuses_everything_until_its_policy_is_written(node: Node) -> None:
    assert stat.S_IMODE(node.home.stat().st_mode) == 0o700
    for key in (node.home / "keys").iterdir():
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    policy = node.policy
    assert policy is not None
    assert (policy.use, policy.share, policy.galleries) == ((), (), {})
    assert not node.joined
    assert len(node.sealing_key().raw) == 96


def test_a_home_that_is_there_is_not_touched(node: Node) -> None:
    before = everything_in(node.home)
    with pytest.raises(LiaisonError) as caught:
        make_home(node.home, "harbor-pd")
    assert caught.value.code is Code.HOME_EXISTS
    assert everything_in(node.home) == before


@pytest.mark.parametrize("agency", ["", "Eastport PD", "../x", "a" * 64, 'x"\ny = 1'])
def test_a_name_that_cannot_be_used_leaves_no_home(tmp_path: Path, agency: str) -> None:
    with pytest.raises(LiaisonError) as caught:
        make_home(tmp_path / "h", agency)
    assert caught.value.code is Code.REQUEST_INVALID
    assert list(tmp_path.iterdir()) == []


def test_a_second_node_has_its_agencys_key_and_keys_of_its_own(node: Node, tmp_path: Path) -> None:
    second = make_home(tmp_path / "second", "eastport-pd", "n2", agency_key=node.home / "keys" / "agency.key")
    assert second.signer().public_key() == node.signer().public_key()
    assert second.sealing_key().raw != node.sealing_key().raw


def test_no_home_and_no_settings_are_told_apart_from_wrong_ones(tmp_path: Path, node: Node) -> None:
    assert refused(tmp_path / "nowhere").code is Code.HOME_MISSING
    node.settings_path.write_text("agency = ")
    assert refused(node.home).code is Code.CONFIG_INVALID


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('surprise = "x"', "surprise"),
        ("threads = 0", "threads"),
        ('threads = "two"', "threads"),
        ('users = {ann = {roles = ["chief"]}}', "users.ann.roles"),
        ("milvus = 5", "milvus"),
        ('home = "/tmp"', "home"),
    ],
)
def test_an_entry_that_is_wrong_is_named(node: Node, line: str, named: str) -> None:
    text = node.settings_path.read_text()
    node.settings_path.write_text(f"{line}\n{text}")
    error = refused(node.home)
    assert error.code is Code.CONFIG_INVALID
    assert named in error.detail


def test_people_of_the_agency_are_read_with_roles_and_training(node: Node) -> None:
    with node.settings_path.open("a") as file:
        file.write('\n[users.ann]\nroles = ["requester", "examiner"]\ntraining_date = 2026-01-15\n')
    ann = load_node(node.home).users["ann"]
    assert ann.roles == ("requester", "examiner")
    assert str(ann.training_date) == "2026-01-15"


def test_setting_entries_keeps_comments_order_and_tables() -> None:
    text = '# mine\nregion = ""\n# milvus = "x"\n\n[users.ann]\nregion = "not this"\n'
    changed = set_entries(text, {"region": "delta", "milvus": "http://m", "join": "h:1"})
    assert changed == (
        'join = "h:1"\n# mine\nregion = "delta"\nmilvus = "http://m"\n\n[users.ann]\nregion = "not this"\n'
    )


def test_the_policy_of_another_agency_is_refused(node: Node) -> None:
    text = node.policy_path.read_text().replace("agency: eastport-pd", "agency: harbor-pd")
    node.policy_path.write_text(text)
    with pytest.raises(LiaisonError) as caught:
        _ = node.policy
    assert caught.value.code is Code.POLICY_INVALID


def test_a_key_that_others_may_read_is_refused(node: Node) -> None:
    node.sealing_key_path.chmod(0o644)
    with pytest.raises(LiaisonError) as caught:
        node.sealing_key()
    assert caught.value.code is Code.KEY_UNREADABLE


def test_the_environment_names_the_home() -> None:
    assert default_home({"AGENCY_NODE_HOME": "/srv/node"}) == Path("/srv/node")
    assert default_home({}).name == "node"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]

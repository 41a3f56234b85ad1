"""Founding a region: whole or not at all; what a running hub reads never includes an offline key."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from federation.errors import Code, LiaisonError
from federation.identity.certificates import parse_certificate, root_fingerprint
from federation.log import parse_vkey
from hub.config import Settings, load_hub, parse_duration
from hub.registry.founding import found
from hub.registry.offline import Offline
from hub.registry.tls import current_tls

AT = datetime(2026, 3, 1, tzinfo=UTC)
DELTA = Settings(region="delta")


def refused(code: Code) -> Any:
    return pytest.raises(LiaisonError, check=lambda error: error.code is code)


def make(home: Path, offline: Path | None = None, policy: str | None = None) -> Any:
    return found(home, offline, DELTA, policy, [], lambda: AT)


def test_a_founded_region_believes_its_own_bundle(tmp_path: Path) -> None:
    made = make(tmp_path / "hub")
    trust = made.hub.trust(AT)
    assert trust.bundle.version == 1
    assert parse_vkey(trust.bundle.log_vkey) == made.hub.load_log_signer().verifier_key()
    assert made.fingerprint == root_fingerprint(made.hub.root())


def test_every_key_is_its_owners_alone(tmp_path: Path) -> None:
    home = make(tmp_path / "hub").hub.home
    keys = sorted(home.rglob("*.key"))
    assert len(keys) == 6
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
    assert {key.parent.stat().st_mode & 0o777 for key in keys} == {0o700}


def test_a_home_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    make(tmp_path / "hub")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with refused(Code.HOME_EXISTS):
        make(tmp_path / "hub")
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_offline_keys_that_are_there_are_never_overwritten(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    make(tmp_path / "hub", stick)
    key = (stick / "root.key").read_bytes()
    with refused(Code.HOME_EXISTS):
        make(tmp_path / "other", stick)
    assert (stick / "root.key").read_bytes() == key
    assert not (tmp_path / "other").exists()


def test_a_founding_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with refused(Code.POLICY_INVALID):
        make(tmp_path / "hub", tmp_path / "stick", policy="liaison: region/v1\nregion: omega\nversion: 1\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with refused(Code.STORAGE_FAILED):
        make(tmp_path / "hub")


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with refused(Code.STORAGE_FAILED):
        make(tmp_path / "file" / "hub")


def test_a_hub_whose_offline_keys_are_away_still_loads_everything_that_it_serves_with(tmp_path: Path) -> None:
    made = make(tmp_path / "hub")
    shutil.rmtree(made.offline)
    hub = load_hub(made.hub.home)
    for load in (lambda: hub.trust(AT), hub.load_issuing, hub.load_hub_signer, hub.load_log_signer):
        assert load() is not None
    shown = hub.load_tls()
    assert current_tls(hub, AT) == shown
    assert current_tls(hub, AT + timedelta(days=6)) != shown
    with refused(Code.KEY_UNREADABLE):
        Offline(made.offline).coordinator()
    with refused(Code.KEY_UNREADABLE):
        Offline(made.offline).root(hub)


def test_the_hubs_tls_certificate_is_renewed_from_half_of_its_life_with_a_new_key(tmp_path: Path) -> None:
    hub = make(tmp_path / "hub").hub
    first = current_tls(hub, AT + timedelta(days=3))
    later = AT + timedelta(days=4)
    second = current_tls(hub, later)
    assert second.key != first.key
    assert current_tls(hub, later) == second == hub.load_tls()
    leaf = parse_certificate(second.chain)
    assert leaf.not_valid_after_utc == later + timedelta(days=7)
    assert (hub.home / "keys" / "tls.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('region = "delta"\ncolour = "red"\n', "colour"),
        ('region = "Delta!"\n', "region"),
        ('region = "delta"\nbroker = "nowhere"\n', "broker"),
        ('region = "delta"\nbroker = "h:99999"\n', "broker"),
        ('region = "delta"\ntls_life = "a week"\n', "tls_life"),
        ('region = "delta"\nhosts = []\n', "hosts"),
        ("region = 7\n", "region"),
        ("region = \n", "hub.toml"),
    ],
)
def test_a_setting_that_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "hub.toml").write_text(text)
    with pytest.raises(LiaisonError, match=named) as caught:
        load_hub(tmp_path)
    assert caught.value.code is Code.CONFIG_INVALID


def test_a_home_without_settings_is_missing(tmp_path: Path) -> None:
    with refused(Code.HOME_MISSING):
        load_hub(tmp_path)


@pytest.mark.parametrize("text", ["", "7", "0d", "-1h", "1w", "1.5h", "1h30m", "١h", "9" * 9 + "d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with refused(Code.CONFIG_INVALID):
        parse_duration(text)


def test_durations_are_read() -> None:
    assert [parse_duration(t) for t in ("90s", "30m", "24h", "7d")] == [
        timedelta(seconds=90),
        timedelta(minutes=30),
        timedelta(days=1),
        timedelta(days=7),
    ]

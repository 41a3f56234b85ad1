"""The offline verifier: an honest log verifies, and nobody changes a byte of one unseen."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from federation.errors import Code, LiaisonError
from federation.log import LogReceipt, export_tiles, inclusion_proof, verify_directory
from federation.log.__main__ import main

MakeLog = Callable[[int], Any]
MoreEntries = Callable[[int, int], list[bytes]]


def report_of(directory: Path, log: Any, **options: Any) -> Any:
    return verify_directory(directory, log.key, witness_keys=log.witness_keys, **options)


def test_an_honest_log_verifies(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(600)
    log.export(tmp_path)
    report = report_of(tmp_path, log)
    assert report.problems == ()
    assert report.verified
    assert (report.size, report.root) == (600, log.checkpoint().root.hex())
    assert report.entries == {"request": 200, "decision": 200, "answer": 200}
    assert [name for name, _ in report.witnesses] == ["node.example/a/1", "node.example/b/1"]
    assert json.loads(json.dumps(report.as_json()))["verified"] is True


@pytest.mark.parametrize("size", [0, 1, 256])
def test_a_log_of_any_size_verifies(make_log: MakeLog, tmp_path: Path, size: int) -> None:
    log = make_log(size)
    log.export(tmp_path)
    assert report_of(tmp_path, log).verified


def test_a_log_with_left_over_partial_tiles_verifies(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(300)
    for size in (3, 100, 257, 280, 300):
        log.export(tmp_path, size)
    (tmp_path / ".unfinished").write_bytes(b"half a ti")
    assert (tmp_path / "tile/entries/001.p/24").exists()
    assert report_of(tmp_path, log).verified


def test_no_byte_of_the_checkpoint_can_be_changed_unseen(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(3)
    log.export(tmp_path)
    path = tmp_path / "checkpoint"
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        assert not report_of(tmp_path, log).verified, at


def test_no_byte_of_any_tile_can_be_changed_unseen(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(270)
    for size in (258, 270):
        log.export(tmp_path, size)
    chance = random.Random(7)
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "checkpoint"):
        data = path.read_bytes()
        places = [0, len(data) - 1, *(chance.randrange(len(data)) for _ in range(8))]
        flipped = [data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :] for at in places]
        for changed in (b"", data[:-1], data + b"\x00", data[1:], *flipped):
            path.write_bytes(changed)
            assert not report_of(tmp_path, log).verified, path
        path.write_bytes(data)
    assert report_of(tmp_path, log).verified


def test_every_file_that_a_checkpoint_needs_is_missed(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(600)
    log.export(tmp_path)
    for path in sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != "checkpoint"):
        data = path.read_bytes()
        path.unlink()
        assert not report_of(tmp_path, log).verified, path
        path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    [
        "tile/0/999", "tile/0/0", "tile/8/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/x000/000",
        "notes.txt", "tile/\x1b[31m", "checkpoint.bak",
    ],
)  # fmt: skip
def test_a_file_that_has_no_place_in_the_log_is_named(make_log: MakeLog, tmp_path: Path, name: str) -> None:
    log = make_log(600)
    log.export(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    problems = report_of(tmp_path, log).problems
    assert [problem.endswith("is not part of a log of 600 entries.") for problem in problems] == [True]
    assert problems[0].isprintable()


def test_a_bundle_planted_in_front_of_the_true_one_is_not_believed(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(600)
    log.export(tmp_path)
    for name in ("tile/entries/002.p/99", "tile/entries/002"):
        (tmp_path / name).write_bytes(b"")
        assert any(name in problem for problem in report_of(tmp_path, log).problems)
        (tmp_path / name).unlink()


def test_a_hub_that_drops_changes_adds_or_swaps_entries_does_not_keep_its_root(
    make_log: MakeLog, more_entries: MoreEntries, tmp_path: Path
) -> None:
    log = make_log(300)
    honest = log.entries
    forgeries = {
        "dropped": [*honest[:100], *honest[101:]],
        "changed": [*honest[:100], more_entries(1, 5000)[0], *honest[101:]],
        "added": [*honest[:100], more_entries(1, 5000)[0], *honest[100:]],
        "swapped": [*honest[:100], honest[101], honest[100], *honest[102:]],
    }
    for name, entries in forgeries.items():
        forged = make_log(0)
        forged.append(entries)
        forged.export(tmp_path / name)
        shutil.copy(tmp_path / name / "checkpoint", tmp_path / f"{name}.signed")
        (tmp_path / name / "checkpoint").write_bytes(log.cosigned())
        assert not report_of(tmp_path / name, log).verified
        # A hub that signs the forgery anew contradicts the checkpoint that somebody kept.
        (tmp_path / name / "checkpoint").write_bytes((tmp_path / f"{name}.signed").read_bytes())
        assert report_of(tmp_path / name, log).verified
        report = report_of(tmp_path / name, log, since=log.note(200))
        assert any("older checkpoint" in problem for problem in report.problems)


def test_a_log_that_continues_an_older_checkpoint_verifies(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(300)
    log.export(tmp_path)
    for size in (0, 1, 200, 300):
        assert report_of(tmp_path, log, since=log.note(size)).verified
    assert not report_of(tmp_path, log, since=make_log(301).note()).verified
    assert not report_of(tmp_path, log, since=log.note(200).replace(b"\n200\n", b"\n201\n")).verified


def test_an_entry_that_is_not_canonical_is_named_though_its_hash_is_right(
    make_log: MakeLog, tmp_path: Path
) -> None:
    log = make_log(3)
    log.append([b'{"secret": "a name"}'])
    log.export(tmp_path)
    problems = report_of(tmp_path, log).problems
    assert len(problems) == 1
    assert problems[0].startswith("Entry 3: ")
    assert "a name" not in problems[0]


def test_problems_beyond_the_hundredth_are_only_counted(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(0)
    log.append([b"garbage %d" % number for number in range(150)])
    log.export(tmp_path)
    problems = report_of(tmp_path, log).problems
    assert len(problems) == 101
    assert problems[-1] == "There are 50 problems more."


def test_a_checkpoint_that_claims_a_huge_log_is_refused_quickly(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(10)
    log.export(tmp_path)
    path = tmp_path / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n10\n", b"\n9223372036854775807\n"))
    assert not report_of(tmp_path, log).verified


def test_a_pipe_in_place_of_a_file_does_not_hang_the_verifier(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(300)
    log.export(tmp_path)
    for name in ("tile/entries/001.p/44", "tile/0/000", "checkpoint"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
        if name == "checkpoint":
            with pytest.raises(LiaisonError):
                report_of(tmp_path, log)
        else:
            assert not report_of(tmp_path, log).verified
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(data)


def test_a_witness_that_is_named_twice_is_needed_once(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(10)
    log.export(tmp_path)
    assert verify_directory(tmp_path, log.key, witness_keys=log.witness_keys * 2).verified
    assert not verify_directory(
        tmp_path, log.key, witness_keys=log.witness_keys[:1] * 2, threshold=2
    ).verified


def test_too_few_witnesses_are_a_problem(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(10)
    export_tiles(tmp_path, 10, log.read, log.read_entries, log.note())
    assert not report_of(tmp_path, log).verified
    assert report_of(tmp_path, log, threshold=0).verified
    (tmp_path / "checkpoint").write_bytes(log.cosigned())
    assert not report_of(tmp_path, log, threshold=3).verified


def test_the_bad_cosignature_of_one_witness_does_not_hide_that_of_another(
    make_log: MakeLog, tmp_path: Path
) -> None:
    log = make_log(10)
    log.export(tmp_path)
    lines = log.cosigned().split(b"\n")
    lines[-2] = lines[-2][:60] + (b"A" if lines[-2][60:61] != b"A" else b"B") + lines[-2][61:]
    (tmp_path / "checkpoint").write_bytes(b"\n".join(lines))
    report = report_of(tmp_path, log, threshold=1)
    assert [name for name, _ in report.witnesses] == ["node.example/a/1"]
    assert not report.verified


def test_the_log_of_another_key_or_origin_is_not_verified(make_log: MakeLog, tmp_path: Path) -> None:
    log = make_log(10)
    log.export(tmp_path)
    assert not verify_directory(tmp_path, log.witnesses[0].verifier_key()).verified
    assert not verify_directory(tmp_path, log.key, origin="hub.example/other").verified
    assert verify_directory(tmp_path, log.key, origin="hub.example/delta/log").verified


def test_a_folder_without_a_checkpoint_is_no_log(make_log: MakeLog, tmp_path: Path) -> None:
    with pytest.raises(LiaisonError) as raised:
        report_of(tmp_path, make_log(0))
    assert raised.value.code is Code.FILE_MISSING


def test_garbage_in_place_of_the_checkpoint_is_reported(make_log: MakeLog, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"\xff\x00")
    report = report_of(tmp_path, make_log(0))
    assert (report.verified, report.size) == (False, 0)


def receipt_of(log: Any, index: int) -> LogReceipt:
    size = len(log.entries)
    return LogReceipt(
        log.entries[index], index, tuple(inclusion_proof(index, size, log.read)), log.cosigned()
    )


def test_a_receipt_verifies_by_itself(make_log: MakeLog) -> None:
    log = make_log(20)
    receipt = LogReceipt.from_json(receipt_of(log, 7).to_json())
    assert receipt == receipt_of(log, 7)
    entry, checkpoint = receipt.verify(log.key)
    assert entry.encode() == log.entries[7]
    assert checkpoint == log.checkpoint()


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("index", 8, Code.PROOF_INVALID),
        ("index", True, Code.PROOF_INVALID),
        ("index", "7", Code.PROOF_INVALID),
        ("proof", [], Code.PROOF_INVALID),
        ("proof", "", Code.PROOF_INVALID),
        ("proof", ["!"], Code.PROOF_INVALID),
        ("proof", [5], Code.PROOF_INVALID),
        ("entry", "{}", Code.PROOF_INVALID),
        ("entry", 5, Code.PROOF_INVALID),
        ("entry", "\ud800", Code.PROOF_INVALID),
        ("liaison", "log-receipt/v2", Code.PROOF_INVALID),
        ("more", 1, Code.PROOF_INVALID),
        ("checkpoint", "hello", Code.CHECKPOINT_INVALID),
    ],
)
def test_a_receipt_that_was_changed_is_refused(make_log: MakeLog, field: str, value: Any, code: Code) -> None:
    log = make_log(20)
    text = json.dumps({**json.loads(receipt_of(log, 7).to_json()), field: value})
    with pytest.raises(LiaisonError) as raised:
        LogReceipt.from_json(text).verify(log.key)
    assert raised.value.code is code


@pytest.mark.parametrize("text", [b"", b"\xff", b"null", b"[]", b"{}", b"[" * 60_000])
def test_a_file_that_is_no_receipt_is_refused(text: bytes) -> None:
    with pytest.raises(LiaisonError) as raised:
        LogReceipt.from_json(text)
    assert raised.value.code is Code.PROOF_INVALID


def test_the_command_verifies_a_folder(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(30)
    log.export(tmp_path)
    (older := tmp_path.parent / "older").write_bytes(log.note(9))
    keys = [f"--witness={key.encode()}" for key in log.witness_keys]
    command = ["verify", str(tmp_path), "--log-key", log.key.encode(), *keys, "--since", str(older)]
    assert main(command) == 0
    assert "VERIFIED" in capsys.readouterr().out.splitlines()
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == 30

    (tmp_path / "tile/0/000.p/30").write_bytes(b"")
    assert main(command) == 44
    assert "NOT VERIFIED" in capsys.readouterr().out.splitlines()


def test_the_command_verifies_a_receipt(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(30)
    (path := tmp_path / "receipt.json").write_text(receipt_of(log, 7).to_json())
    assert main(["receipt", str(path), "--log-key", log.key.encode()]) == 0
    assert "entry 7 of 30" in capsys.readouterr().out
    assert main(["receipt", str(path), "--log-key", log.key.encode(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "decision"
    path.write_text(receipt_of(log, 7).to_json().replace("san-joaquin-so", "san-joaquin-s0"))
    assert main(["receipt", str(path), "--log-key", log.key.encode()]) == 41
    assert "not proven" in capsys.readouterr().err


def test_the_command_says_what_is_wrong_with_its_arguments(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_log(0).key.encode()
    assert main(["verify", str(tmp_path), "--log-key", key]) == 15
    assert main(["verify", str(tmp_path), "--log-key", "nonsense"]) == 16
    assert main(["receipt", str(tmp_path / "none"), "--log-key", key]) == 15


def test_the_command_says_when_no_witness_speaks_for_the_log(
    make_log: MakeLog, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = make_log(3)
    log.export(tmp_path)
    assert main(["verify", str(tmp_path), "--log-key", log.key.encode()]) == 0
    assert "Witness    none" in capsys.readouterr().out


def test_the_command_gives_its_errors_to_machines_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", ".", "--log-key", "nonsense", "--json"]) == 16
    assert json.loads(capsys.readouterr().out)["error"] == "config-invalid"

"""`hub policy …`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from federation.errors import Code, LiaisonError
from federation.policy import Finding, Severity, check_text
from hub.cli.region import read_statutes, read_text
from hub.cli.shell import HubGroup, Shell, now, offline_option, show, table
from hub.registry.bundle import (
    check_coordinator,
    log_bundle,
    replace_file,
    sign_bundle,
    successor,
    write_policies,
)

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "blue"}


@click.group(cls=HubGroup)
def policy() -> None:
    """Check policy files, and publish the region's."""


@policy.command(epilog="hub policy check policies\nhub policy check policies/region.yaml --json")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.pass_obj
def check(shell: Shell, paths: tuple[Path, ...]) -> None:
    """Check agencies' policies, the region's, or statute packs, and say what each line means that should be looked at.

    Of a folder, every .yaml file below it is checked. Needs no hub. Exit code 30 when a file is not valid; warnings
    and notes alone exit with 0.
    """
    at = now()
    files = [file for path in paths for file in (sorted(path.rglob("*.yaml")) if path.is_dir() else [path])]
    if not files:
        raise LiaisonError(Code.FILE_MISSING, "There is no .yaml file in the folder.")
    found = [(file, finding) for file in files for finding in check_text(_read(file), file.name, at)]
    value = [{"file": str(file), **finding.as_json()} for file, finding in found]
    shell.answer(value, lambda: _print(files, found))
    broken = len({file for file, finding in found if finding.severity is Severity.ERROR})
    if broken:
        raise LiaisonError(Code.POLICY_INVALID, f"{broken} of {len(files)} files have errors.")


@policy.command(
    epilog="hub policy publish --region policies/region.yaml --statutes policies/statutes\n"
    "hub policy publish --revoke-signer 4711 --offline /media/usb/delta"
)
@click.option(
    "--region",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="The region's policy; without it, the one in force stays.",
)
@click.option(
    "--statutes",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="The folder of statute packs; without it, those in force stay.",
)
@click.option(
    "--revoke-signer",
    "revoke",
    multiple=True,
    metavar="SERIAL",
    help="Make every member refuse a signing certificate, for ever; repeatable.",
)
@offline_option
@click.pass_obj
def publish(
    shell: Shell, region: Path | None, statutes: Path | None, revoke: tuple[str, ...], offline: Path | None
) -> None:
    """Publish the region's next bundle, signed with the coordinator's offline key.

    It takes effect in a running hub at once, and at every node as it connects.
    """
    if region is None and statutes is None and not revoke:
        raise click.UsageError("Nothing to publish: name --region, --statutes or --revoke-signer.")
    hub, at = shell.hub(), now()
    trust = hub.trust(at)
    key, certificate = shell.offline(offline).coordinator()
    check_coordinator(trust, certificate, at)
    bundle = successor(
        trust,
        read_text(region) if region else None,
        read_statutes(statutes) if statutes else None,
        revoke,
        at,
    )
    signed = sign_bundle(bundle, key, certificate)
    trust.update(signed, at)
    # The log first: a bundle that members have and the log has not would be a rule made in secret.
    shell.write(lambda transaction: log_bundle(transaction, bundle, signed))
    replace_file(hub.bundle_path, signed.encode())
    write_policies(hub.home / "policies", bundle)
    value = {"region": bundle.region, "version": bundle.version, "digest": signed.digest}
    shell.answer(
        value, f"Bundle {bundle.version} of {bundle.region} is in force. Put the offline keys away again."
    )


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LiaisonError(Code.FILE_MISSING, f"{file} cannot be read.") from error


def _print(files: Sequence[Path], found: list[tuple[Path, Finding]]) -> None:
    rows = [
        [
            f"{file}:{finding.line}:{finding.column}",
            f"[{_COLOURS[finding.severity]}]{finding.severity.value}[/]",
            finding.rule,
            finding.sentence.replace("[", "\\["),
        ]
        for file, finding in found
    ]
    if rows:
        show(table("", ["place", "severity", "rule", "finding"], rows))
    clean = len(files) - len({file for file, _ in found})
    click.echo(f"{len(files)} files checked, {clean} without a finding.")

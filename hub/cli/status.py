"""`hub status`: the whole at a glance, while the hub runs or not."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from federation.canonical import stamp
from federation.identity.certificates import half_life, parse_certificate
from hub.cli.shell import HubCommand, Shell, now
from hub.config import Hub, read_file
from hub.store.log import LogReader
from hub.store.members import Members
from hub.store.tables import CertificateRow, CosignatureRow, DeliveryRow

_SIGNING_NOTICE = timedelta(days=30)


@click.command(cls=HubCommand, epilog="hub status\nhub status --json")
@click.pass_obj
def status(shell: Shell) -> None:
    """Show agencies, nodes, certificates that end soon, the log, deliveries by state, and the database's size."""
    hub, at = shell.hub(), now()
    with shell.reading() as session:
        value = {
            "region": hub.region,
            "broker": hub.broker_address,
            "join": hub.join_address,
            "bundle_version": hub.bundle().version,
            "agencies": _agencies(session),
            "nodes": _nodes(session),
            "certificates_ending": _ending(hub, session, at),
            "log": _log(session),
            "deliveries": dict(
                session.execute(select(DeliveryRow.state, func.count()).group_by(DeliveryRow.state)).all()
            ),
            "database_bytes": _bytes(session),
        }
    shell.answer(value, _in_words(value))


def _agencies(session: Session) -> dict[str, int]:
    rows = Members(session).agencies()
    return {
        "total": len(rows),
        "confirmed": sum(row.signing_certificate is not None for row in rows),
        "waiting": sum(row.signing_csr is not None for row in rows),
        "suspended": sum(row.suspended_at is not None for row in rows),
    }


def _nodes(session: Session) -> list[dict[str, Any]]:
    return [
        {
            "agency": row.agency,
            "node": row.node,
            "last_seen": row.last_seen,
            "revoked": row.revoked_at is not None,
            "listed": row.statement is not None,
        }
        for row in Members(session).nodes()
    ]


def _ending(hub: Hub, session: Session, at: datetime) -> list[dict[str, str]]:
    """Certificates that somebody should look after: past the middle of a TLS life, or a signing key's last month."""
    found: list[tuple[str, datetime, bool]] = []
    tls = parse_certificate(read_file(hub.home / "certs" / "tls.pem"))
    found.append(("hub (TLS, renewed by `hub serve`)", tls.not_valid_after_utc, at > half_life(tls)))
    signing = {
        "hub (signing)": read_file(hub.home / "certs" / "hub.der"),
        "coordinator": hub.signed_bundle().certificate,
    }
    signing |= {
        f"{row.id} (signing)": row.signing_certificate
        for row in Members(session).agencies()
        if row.signing_certificate
    }
    for name, data in signing.items():
        end = parse_certificate(data).not_valid_after_utc
        found.append((name, end, at > end - _SIGNING_NOTICE))
    newest = (
        select(CertificateRow.agency, CertificateRow.node, func.max(CertificateRow.not_after))
        .where(CertificateRow.revoked_at.is_(None))
        .group_by(CertificateRow.agency, CertificateRow.node)
    )
    for agency, node, not_after in session.execute(newest):
        end = datetime.fromisoformat(not_after)
        found.append((f"{agency}/{node} (TLS)", end, at > end - hub.tls_life / 2))
    return [{"whose": name, "not_after": stamp(end)} for name, end, soon in found if soon]


def _log(session: Session) -> dict[str, Any]:
    reader = LogReader(session)
    latest = reader.latest()
    cosigned = session.execute(
        select(CosignatureRow.size, func.count())
        .group_by(CosignatureRow.size)
        .order_by(CosignatureRow.size.desc())
        .limit(1)
    ).one_or_none()
    return {
        "size": reader.size(),
        "checkpoint": latest.size if latest else 0,
        "cosigned": cosigned[0] if cosigned else 0,
        "cosignatures": cosigned[1] if cosigned else 0,
    }


def _bytes(session: Session) -> int:
    if session.get_bind().dialect.name == "sqlite":
        pages = session.scalar(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
    else:
        pages = session.scalar(text("SELECT pg_database_size(current_database())"))
    return int(pages or 0)


def _in_words(value: dict[str, Any]) -> str:
    agencies, log = value["agencies"], value["log"]
    lines = [
        f"Region      {value['region']}, bundle {value['bundle_version']}",
        f"Broker      {value['broker']} (joining: {value['join']})",
        f"Agencies    {', '.join(f'{count} {state}' for state, count in agencies.items())}",
        f"Log         {log['size']} entries; newest cosigned checkpoint {log['cosigned']}, by {log['cosignatures']}",
        f"Database    {value['database_bytes'] / 1e6:.1f} MB",
    ]
    deliveries = ", ".join(f"{count} {state}" for state, count in sorted(value["deliveries"].items()))
    lines.append(f"Deliveries  {deliveries or 'none yet'}")
    for node in value["nodes"]:
        state = "REVOKED" if node["revoked"] else f"last seen {node['last_seen'] or 'never'}"
        listed = "" if node["listed"] else "; has not published its galleries"
        lines.append(f"Node        {node['agency']}/{node['node']}: {state}{listed}")
    lines += [f"ENDING      {one['whose']}: {one['not_after']}" for one in value["certificates_ending"]]
    return "\n".join(lines)

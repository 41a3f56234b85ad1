"""Making a node's home: keys that never leave it, settings with explanations, and a policy that refuses everything."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from agency_node.config import SETTINGS, Node, load_node, write_atomically
from agency_node.gallery.vault import create_key
from federation.errors import Code, LiaisonError
from federation.identity.hybrid import SealingKey
from federation.identity.keys import (
    load_signing_key,
    new_signing_key,
    new_tls_key,
    private_pem,
    write_secret,
)
from federation.identity.spiffe import check_name
from federation.policy.load import load_agency

_TOML = """\
# Settings of one node of an agency. Whoever runs the node may edit this file; restart `agency-node serve` afterwards.

agency = "{agency}"
node = "{node}"
name = "{name}"

# Written by `agency-node join`.
region = ""
broker = ""
join = ""

# The face engine. Templates of different engines are never compared: after a change, enroll again.
engine = "mobilefacenet"
# How many threads one search may use; all of the machine's by default.
# threads = 2

# The address of a Milvus server, for galleries that have outgrown Milvus Lite (about 20,000 templates).
# milvus = "http://127.0.0.1:19530"

# Keys that live elsewhere than in keys/.
# agency_key = "file:/path/to/agency.key"
# vault_key = "file:/path/to/vault.key"

# The agency's people who may search, with their roles and the day of their last training.
# [users.m-garcia]
# roles = ["requester", "examiner"]
# training_date = 2026-01-15
"""

_POLICY = """\
# The policy of {agency}: who may search its galleries, and what its own people may ask of others.
# What no rule permits is refused, so this file refuses everything until you add rules.
liaison: policy/v1
agency: {agency}
version: 1            # raise it with every change that you publish

# Where the agency stands, as narrowly as is true, such as us-ca. The statutes of that place and of those around it
# bind you.
jurisdictions: [{jurisdictions}]

# The galleries that this agency offers. Without any, the node only asks and witnesses.
# galleries:
#   booking: {{kind: booking, title: County booking photographs, retention_days: 3650}}

# Who may search them.
# share:
#   - id: violent-felony-assist
#     says: Partner agencies may search booking photographs in violent felony cases.
#     basis: Regional MOU 2025-14 §3
#     galleries: [booking]
#     agencies: [any]
#     purposes: [criminal-investigation]
#     offenses: [class:violent]
#     requires: [case-number]
#     release: [photo, subject-reference, encounter-date]

# What overrides every permission, here and elsewhere.
# refuse:
#   - {{id: no-immigration, says: Never for immigration enforcement., purposes: [immigration-enforcement]}}

# What our own people may ask of others.
#   - id: booking-only
#     says: Our detectives may search only galleries of booking photographs.
#     gallery_kinds: [booking]
use: []
"""


def make_home(
    home: Path,
    agency: str,
    node: str = "n1",
    *,
    name: str = "",
    jurisdictions: Sequence[str] = ("us",),
    agency_key: Path | None = None,
) -> Node:
    """Make a home that must not be there yet, whole or not at all.

    `agency_key` is the key file of the agency's first node, for a second one; without it a new key is made. Raises
    LiaisonError(HOME_EXISTS) and touches nothing where there is something, KEY_UNREADABLE for a wrong key file,
    REQUEST_INVALID for a name that cannot be used, POLICY_INVALID for a jurisdiction that is none.
    """
    check_name(agency, "An agency's id")
    check_name(node, "A node's name")
    if any(not sign.isprintable() or sign in '"\\' for sign in name):
        raise LiaisonError(
            Code.REQUEST_INVALID, "The agency's name may hold no quotation marks or backslashes."
        )
    policy = _POLICY.format(agency=agency, jurisdictions=", ".join(jurisdictions)).encode()
    load_agency(policy)
    signing_key = load_signing_key(agency_key) if agency_key else new_signing_key()
    home = home.expanduser().absolute()
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise LiaisonError(Code.HOME_EXISTS, f"{home} is not empty.")
    draft = home.with_name(f".{home.name}.new")
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        keys = draft / "keys"
        keys.mkdir(mode=0o700)
        (draft / "certs").mkdir(mode=0o700)
        write_secret(keys / "agency.key", private_pem(signing_key))
        write_secret(keys / "tls.key", private_pem(new_tls_key()))
        write_secret(keys / "sealing.key", SealingKey.generate().raw)
        write_secret(keys / "witness.key", private_pem(new_signing_key()))
        create_key(keys / "vault.key")
        write_atomically(draft / "policy.yaml", policy)
        write_atomically(draft / SETTINGS, _TOML.format(agency=agency, node=node, name=name).encode())
        draft.rename(home)
    except OSError as error:
        raise LiaisonError(Code.STORAGE_FAILED, f"{home} cannot be made.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_node(home)

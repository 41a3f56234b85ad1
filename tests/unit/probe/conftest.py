"""A good request, as fields of which a test makes its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from federation.canonical import b64, stamp
from federation.identity.hybrid import SealingKey

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def answer_key() -> SealingKey:
    return SealingKey.generate()


@pytest.fixture(scope="session")
def fields(answer_key: SealingKey) -> dict[str, Any]:
    return {
        "liaison": "probe-request/v1",
        "id": "0123456789abcdef0123456789abcdef",
        "region": "delta",
        "requester": {"agency": "mill-creek-pd", "user": "d.ruiz", "roles": ["requester"]},
        "purpose": "criminal-investigation",
        "offense": "nibrs:120",
        "probe_source": "cctv-still",
        "case_number": "MC-26-0417",
        "attestations": [],
        "probe": {
            "original_sha256": "sha256:" + "0" * 64,
            "working_sha256": "sha256:" + "1" * 64,
            "width": 320,
            "height": 320,
            "face_box": [10, 10, 100, 120],
            "quality": 71,
            "edits": [{"op": "crop", "box": [0, 0, 320, 320]}],
        },
        "galleries": ["eastport-pd/booking", "san-joaquin-so/booking"],
        "created_at": stamp(NOW),
        "expires_at": stamp(NOW + timedelta(hours=1)),
        "answer_key": b64(answer_key.public()),
        "policy_digest": "sha256:" + "2" * 64,
    }

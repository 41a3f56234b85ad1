"""Promise 5: "not searched" never looks like "no match", whatever the reason was. At a real hub and real nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from federation.probe.delivery import SENTENCES, DeliveryState

AGENCIES = ("mill-creek-pd", "san-joaquin-so", "valley-records")
GALLERY, PUBLIC = "san-joaquin-so/booking", "valley-records/public"

pytestmark = pytest.mark.slow


def check_not_searched(result: Any, status: str, *, reason: str = "", code: str | None = None) -> Any:
    """The only delivery has this status and says so; nothing in it could be read as an empty answer."""
    [delivery] = result["deliveries"]
    assert delivery["status"] == status
    assert delivery["status"] != "answered"
    assert (reason or SENTENCES[DeliveryState(status)]) in delivery["reason"]
    assert delivery["code"] == code
    assert delivery["candidates"] == []
    assert delivery["gallery_size"] is None
    return delivery


def test_a_refusal_by_the_hub_names_the_rule(federation: Any) -> None:
    result = federation.search("--gallery", GALLERY, accept=(32,), purpose="immigration-enforcement")
    delivery = check_not_searched(
        result, "refused_by_hub", reason="Never for immigration enforcement", code="policy-denies"
    )
    assert delivery["rule"] in (
        "region/no-immigration",
        "san-joaquin-so/no-immigration",
        "mill-creek-pd/no-immigration",
    )
    assert delivery["receipt"] is None


def test_a_refusal_by_the_node_names_its_own_rule_which_the_hub_does_not_have(federation: Any) -> None:
    path: Path = federation.stage.node_home("san-joaquin-so") / "policy.yaml"
    published = path.read_text()
    # The version stays, so the hub does not take it: the file at the node differs from the copy at the hub.
    path.write_text(
        published.replace(
            "refuse:", "refuse:\n  - {id: not-this-week, says: Not this week., offenses: ['nibrs:120']}", 1
        )
    )
    try:
        result = federation.search("--gallery", GALLERY, accept=(32,))
    finally:
        path.write_text(published)
    delivery = check_not_searched(result, "refused_by_node", reason="Not this week", code="policy-denies")
    assert delivery["rule"] == "san-joaquin-so/not-this-week"
    assert delivery["receipt"]["answer_sha256"] is None
    assert federation.hub_rows("SELECT candidates FROM delivery WHERE request_id = ?", result["id"]) == [
        (None,)
    ]


def test_a_gallery_that_took_the_request_and_never_answered_is_shown_as_expired(federation: Any) -> None:
    with federation.frozen("san-joaquin-so"):
        result = federation.search("--gallery", GALLERY, "--expires", "10s", accept=(52,))
    delivery = check_not_searched(result, "expired")
    assert delivery["receipt"] is None
    # Thawed, the node finds it too late, and what it says then is logged as late and changes nothing.
    later = federation.search("--resume", result["id"], accept=(52,))
    assert later["deliveries"][0]["status"] == "expired"
    assert not federation.was_searched(result["id"], GALLERY)


def test_a_search_that_fails_at_the_node_is_shown_as_failed_with_the_nodes_reason(federation: Any) -> None:
    """The hub spoils the ciphertext while the node is away, so that a permitted probe cannot be opened."""
    with federation.away("valley-records"):
        handed_in = federation.search("--no-wait", "--gallery", PUBLIC)
        engine = create_engine(f"sqlite:///{federation.stage.hub_home / 'hub.db'}")
        with engine.begin() as connection:
            spoilt = {"id": handed_in["id"], "bytes": bytes(1000)}
            connection.execute(text("UPDATE request SET ciphertext = :bytes WHERE id = :id"), spoilt)
        engine.dispose()
    result = federation.search("--resume", handed_in["id"], accept=(55,))
    delivery = check_not_searched(result, "failed", reason="cannot be opened", code="seal-broken")
    assert delivery["receipt"]["answer_sha256"] is None


def test_an_answer_without_candidates_says_how_much_was_searched(federation: Any) -> None:
    """The other side of the promise: a gallery that was searched says so, with its receipt and its size."""
    result = federation.search("--gallery", GALLERY)
    [delivery] = result["deliveries"]
    assert delivery["status"] == "answered"
    assert delivery["gallery_size"]["subjects"] > 0
    assert delivery["receipt"]["answer_sha256"] is not None

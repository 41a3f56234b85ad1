"""SPIFFE ids: four shapes, each read back as it was written, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.errors import Code, LiaisonError
from federation.identity.spiffe import SpiffeId

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(NAMES, NAMES, NAMES)
def test_every_shape_reads_back_as_it_was_written(region: str, agency: str, node: str) -> None:
    for identity in (
        SpiffeId.hub(region),
        SpiffeId.coordinator(region),
        SpiffeId.of_agency(region, agency),
        SpiffeId.of_node(region, agency, node),
    ):
        assert SpiffeId.parse(str(identity)) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://delta",
        "spiffe://delta/",
        "spiffe://delta/hub/",
        "spiffe://delta/hub/x",
        "spiffe://Delta/hub",
        "spiffe://delta/agency/",
        "spiffe://delta/agency/a/node",
        "spiffe://delta/agency/a/node/",
        "spiffe://delta/agency/a/node/1/x",
        "spiffe://delta/agency/../hub",
        "spiffe://delta/agency/a%2fnode",
        "https://delta/hub",
        "xspiffe://delta/hub",
        "spiffe://delta/agency/" + "a" * 64,
    ],
)
def test_any_other_text_is_no_identity(uri: str) -> None:
    with pytest.raises(LiaisonError) as caught:
        SpiffeId.parse(uri)
    assert caught.value.code is Code.CERTIFICATE_INVALID


@given(st.text(max_size=80))
def test_a_text_is_an_identity_that_writes_back_or_is_refused(text: str) -> None:
    uri = "spiffe://" + text
    try:
        identity = SpiffeId.parse(uri)
    except LiaisonError:
        return
    assert str(identity) == uri

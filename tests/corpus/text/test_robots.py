"""What a page says of its own use is read from its head and headers, and from nowhere else."""

from __future__ import annotations

from typing import get_args

import pytest

from shikomi.corpus.text.robots import signs
from shikomi.recipe.optout import OptOutPage, Sign


def head(*metas: str) -> str:
    return f"<!DOCTYPE html><html><head><title>頁</title>{''.join(metas)}</head><body><p>本文</p></body></html>"


@pytest.mark.parametrize(
    ("meta", "found"),
    [
        ('<meta name="robots" content="noai, noimageai">', "noai,noimageai"),
        ("<META CONTENT='NoIndex,NOFOLLOW' NAME='ROBOTS'>", "noindex"),
        ("<meta name=robots content=none />", "noindex"),
        ('<meta http-equiv="X-Robots-Tag" content="noml">', "noml"),
        ('<meta name="tdm-reservation" content="1"><meta name="tdm-policy" content="https://example.jp/p">', "tdm"),
        ('<meta name="tdm-reservation" content="0">', ""),
        ('<meta name="CCBot" content="noindex, noarchive">', "ai-noindex,noarchive"),
        ('<meta name="googlebot" content="noindex">', ""),
        ('<meta name="robots" content="index, follow, max-snippet:-1">', ""),
        ('<meta name="description" content="robots noai">', ""),
        ('<!-- <meta name="robots" content="noai"> --><meta name="robots" content="noml">', "noml"),
        ('<!-- <meta name="robots" content="noai">', ""),
        (
            '<meta name="robots" content="noai"><meta name="robots" content="nocache,nosnippet">',
            "noai,nocache,nosnippet",
        ),
    ],
)
def test_signs_in_the_head(meta, found):
    assert signs(head(meta)) == found


def test_only_the_head_counts():
    assert signs("<html><head></head><body><meta name='robots' content='noai'></body></html>") == ""
    assert signs("<html><body><meta name='robots' content='noai'>") == ""
    assert signs("<meta name='robots' content='noai'>本文") == "noai"
    assert signs("") == ""


def test_signs_in_the_headers():
    assert signs("", {"X-Robots-Tag": "noai"}) == "noai"
    assert signs("", [("x-robots-tag", "noindex"), ("X-ROBOTS-TAG", "noml"), ("TDM-Reservation", "1")]) == (
        "noindex,noml,tdm"
    )
    assert signs("", {"x-robots-tag": "unavailable_after: 25 Jun 2030 15:00:00 PST, noarchive"}) == "noarchive"
    assert signs("", {"x-robots-tag": "otherbot: noindex, noarchive"}) == ""
    assert signs("", {"x-robots-tag": "gptbot: noindex, noarchive, otherbot: nosnippet"}) == "ai-noindex,noarchive"
    assert signs(head('<meta name="robots" content="noai">'), {"content-type": "text/html"}) == "noai"


def test_every_sign_has_a_name_in_the_recipe():
    told = signs("", [("x-robots-tag", "noai,noimageai,noml,noindex,noarchive,nocache,nosnippet,ccbot:noindex")])
    assert set(told.split(",")) | {"tdm"} == set(get_args(Sign))
    assert set(OptOutPage().signs) <= set(get_args(Sign))


@pytest.mark.parametrize("pattern", ["<meta ", "<!--", "<meta name='robots' content=", "a=", "<meta name=robots>"])
def test_hostile_heads_end(pattern):
    assert signs("robots" + pattern * 20_000) == ""

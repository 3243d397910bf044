"""From a draft to the bytes a server sends: site layouts, charsets, and headers that tell the truth or not."""

from __future__ import annotations

import functools
import html
import random
import re
from dataclasses import dataclass
from importlib import resources
from string import Template

from shikomi.sample import tables
from shikomi.sample.draft import Draft

SKINS = ("news", "corporate", "blog", "table", "magazine", "wiki", "plain")
OLD_SKINS = ("table", "plain", "blog")
"""Layouts of the time when pages came in Shift_JIS and EUC-JP."""

CHARSETS = (("utf-8", 0.72), ("cp932", 0.16), ("euc_jp", 0.12))
OLD_CHARSETS = (("utf-8", 0.35), ("cp932", 0.38), ("euc_jp", 0.27))
NAMES = {
    "utf-8": ("utf-8", "UTF-8"),
    "cp932": ("Shift_JIS", "shift_jis", "x-sjis"),
    "euc_jp": ("EUC-JP", "euc-jp"),
    "gb18030": ("gb2312", "gbk"),
    "cp949": ("euc-kr",),
}
WRONG = {"utf-8": ("Shift_JIS", "ISO-8859-1"), "cp932": ("UTF-8", "ISO-8859-1"), "euc_jp": ("UTF-8", "Shift_JIS")}
DECLARED = (("both", 0.4), ("meta", 0.25), ("header", 0.15), ("none", 0.08), ("wrong_header", 0.12))
"""Where the charset is said: in header and page, in one of them, nowhere, or wrongly in the header."""

_CUT = "\x00"
_DEFAULT_TITLES = "編集部より"


@dataclass(frozen=True)
class Response:
    """What a server sends: the Content-Type header and the body; ``charset`` is what the bytes really are."""

    content_type: str
    body: bytes
    charset: str
    declared: str
    skin: str


def render(rng: random.Random, draft: Draft, other_titles: list[str]) -> Response:
    """A draft as HTML in the layout of its site, encoded, with or without a right word about the encoding."""
    skin = skin_of(draft.host)
    charset = _charset(rng, draft, skin)
    declared = _weighted(rng, DECLARED)
    if declared == "wrong_header" and charset not in WRONG:
        declared = "both"
    page = _page(rng, draft, skin, _meta(rng, charset, declared), other_titles)
    body = page.encode(charset)  # the tables hold no letter that the old charsets lack
    content_type = "text/html"
    if declared in ("both", "header"):
        content_type += f"; charset={rng.choice(NAMES[charset])}"
    elif declared == "wrong_header":
        content_type += f"; charset={rng.choice(WRONG[charset])}"
    return Response(content_type, body, charset, declared, skin)


def skin_of(host: str) -> str:
    """The layout of a site: always the same for the same host."""
    return SKINS[random.Random(f"skin:{host}").randrange(len(SKINS))]


def _charset(rng: random.Random, draft: Draft, skin: str) -> str:
    if draft.language in ("zh", "ko"):
        return "utf-8" if rng.random() < 0.7 else {"zh": "gb18030", "ko": "cp949"}[draft.language]
    if draft.language != "ja":
        return "utf-8"
    return _weighted(rng, OLD_CHARSETS if skin in OLD_SKINS else CHARSETS)


def _weighted(rng: random.Random, table: tuple[tuple[str, float], ...]) -> str:
    names, shares = zip(*table, strict=True)
    return rng.choices(names, shares)[0]


def _meta(rng: random.Random, charset: str, declared: str) -> str:
    if declared in ("header", "none"):
        return ""
    name = rng.choice(NAMES[charset])
    if rng.random() < 0.5 or charset != "utf-8":
        return f'<meta http-equiv="Content-Type" content="text/html; charset={name}">\n'
    return f'<meta charset="{name}">\n'


@functools.cache
def _layout(skin: str) -> Template:
    path = resources.files("shikomi.sample").joinpath("layouts", f"{skin}.html")
    return Template(path.read_text(encoding="utf-8"))


@functools.cache
def _chrome(language: str) -> dict[str, str]:
    return dict(line.split("\t", 1) for line in tables.section("chrome", language))


def _page(rng: random.Random, draft: Draft, skin: str, meta: str, other_titles: list[str]) -> str:
    words = _chrome(draft.language)
    titles = rng.sample(other_titles, min(5, len(other_titles))) or [_DEFAULT_TITLES]
    if draft.language != "ja":
        titles = [words["home"], words["menu"]]
    paragraphs = [_paragraph(rng, paragraph, draft.company) for paragraph in draft.paragraphs]
    if draft.cut:
        paragraphs[-1] += _CUT
    nav, footer = words["nav"].split(","), words["footer"].split(",")
    recent, related = titles[:3], titles[2:] or titles
    page = _layout(skin).substitute(
        words,
        lang=draft.language,
        meta=meta,
        title=html.escape(draft.title),
        site=draft.host.split(".")[0],
        date=draft.date,
        paragraphs="\n".join(f"<p>{text}</p>" for text in paragraphs),
        lines="<BR><BR>\n".join(paragraphs) + "<BR>",
        divisions="\n".join(f'<div class="c8">{text}</div>' for text in paragraphs),
        nav_items=_items(nav),
        nav_inline=_inline(nav),
        nav_one=nav[1],
        footer_items=_items(footer),
        footer_inline=_inline(footer),
        recent_items=_items(recent),
        recent_lines="<br>\n".join(f'<a href="/{i}">{html.escape(t)}</a>' for i, t in enumerate(recent)),
        related_items=_items(related),
        related_cards="".join(
            f'<div class="card"><a href="/a/{i}">{html.escape(t)}</a></div>' for i, t in enumerate(related)
        ),
    )
    return page.split(_CUT)[0] + rng.choice(("<di", '<a href="/ne', "</p", '<div class="sha')) if draft.cut else page


def _paragraph(rng: random.Random, text: str, company: str) -> str:
    text = html.escape(text, quote=False)
    if company and rng.random() < 0.15:
        text = text.replace(company, f'<a href="/tag/{len(company)}">{company}</a>', 1)
    if rng.random() < 0.1:
        text = re.sub("「([^」]+)」", r"<strong>「\1」</strong>", text, count=1)
    return text


def _items(texts: list[str]) -> str:
    return "".join(f'<li><a href="/{index}">{html.escape(text)}</a></li>' for index, text in enumerate(texts))


def _inline(texts: list[str]) -> str:
    return " | ".join(f'<a href="/{index}">{html.escape(text)}</a>' for index, text in enumerate(texts))

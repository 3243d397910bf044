"""What a page says of its own use: robots directives and the TDM reservation, in its head or its HTTP headers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_HEAD_CHARACTERS = 65_536
"""Where the search ends: crawlers that read pages in parts look no further either."""
_DIRECTIVES = frozenset(("noai", "noimageai", "noml", "noindex", "noarchive", "nocache", "nosnippet"))
_MODEL_CRAWLERS = frozenset(("ccbot", "gptbot", "google-extended", "applebot-extended", "ai"))
"""Crawlers that gather text for models, as robots directives call them; what is told to other ones alone is theirs."""
_HINTS = (
    "robots",
    "ROBOTS",
    "Robots",
    "tdm-reservation",
    "TDM-",
    "CCBot",
    "ccbot",
    "GPTBot",
    "gptbot",
    "-extended",
    "-Extended",
)
_META = re.compile(r"<meta\b([^<>]{0,2000})>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""(?<![\w-])(name|http-equiv|content)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>]+))""", re.I)
_BODY = re.compile(r"</head|<body", re.IGNORECASE)

Headers = Mapping[str, str] | Sequence[tuple[str, str]]


def signs(html: str, headers: Headers = ()) -> str:
    """What a page says of its use: names of ``recipe.optout.Sign``, sorted, joined by commas; empty if nothing.

    Only the head of the page is looked at, and only if a word in it says that there may be something.

    Args:
        html: the page's text.
        headers: HTTP headers, as pairs or a mapping, names in any case.
    """
    found: set[str] = set()
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        _take(name.strip().lower(), value, found)
    ends = (html.find(sign, 0, _HEAD_CHARACTERS) for sign in ("</head", "</HEAD", "<body", "<BODY"))
    head = html[: next((end for end in ends if end >= 0), _HEAD_CHARACTERS)]
    if any(hint in head for hint in _HINTS):
        end = _BODY.search(head)
        for tag in _META.findall(_without_comments(head[: end.start()] if end else head)):
            given = {match[0].lower(): match[1] or match[2] or match[3] for match in _ATTRIBUTE.findall(tag)}
            name = given.get("name") or given.get("http-equiv") or ""
            _take(name.strip().lower(), given.get("content", ""), found)
    return ",".join(sorted(found))


def _take(name: str, value: str, found: set[str]) -> None:
    """Add what a header or a meta element of that name says."""
    if name in ("robots", "x-robots-tag"):
        crawler = ""
        for part in value.lower().split(","):
            before, colon, after = part.partition(":")
            if colon and before.strip() not in ("unavailable_after", "max-snippet", "max-image-preview"):
                crawler, part = before.strip(), after  # holds for the parts that follow, too
            _direct(part.strip(), crawler, found)
    elif name in _MODEL_CRAWLERS:
        for part in value.lower().split(","):
            _direct(part.strip(), name, found)
    elif name == "tdm-reservation" and value.strip() == "1":
        found.add("tdm")


def _direct(directive: str, crawler: str, found: set[str]) -> None:
    directive = "noindex" if directive == "none" else directive
    if directive not in _DIRECTIVES or (crawler and crawler not in _MODEL_CRAWLERS):
        return
    found.add("ai-noindex" if crawler and directive == "noindex" else directive)


def _without_comments(text: str) -> str:
    parts, position = [], 0
    while (start := text.find("<!--", position)) >= 0:
        parts.append(text[position:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(parts)
        position = end + 3
    return "".join([*parts, text[position:]])

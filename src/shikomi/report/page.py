"""The report: one HTML file a build, with its style, script and charts inside, that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from shikomi.io import atomic
from shikomi.report import words
from shikomi.report.status import BuildStatus
from shikomi.report.view import page_view

HERE = Path(__file__).parent

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows: a hostile page could dress its address up with them."""


def write_report(build: BuildStatus, path: Path) -> None:
    """Write the page of a build, whole or not at all; a build that is only partly done gives what is there."""
    text = render(build)
    with atomic(path) as handle:
        handle.write(text)


def render(build: BuildStatus) -> str:
    """The page's HTML. Every text of a document, an answer or a recipe is escaped; control characters are left out."""
    script = (HERE / "script.js.jinja").read_text(encoding="utf-8").strip()
    style = (HERE / "page.css").read_text(encoding="utf-8").strip()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=visible,
    )
    environment.filters |= {
        "percent": words.percent,
        "number": words.number,
        "large": words.large,
        "short": words.short,
    }
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("page.html.jinja")
    return template.render(
        **page_view(build), style=Markup(style), script=Markup(script), script_digest=digest
    )  # fmt: skip


def visible(value: Any) -> Any:
    """Text without what cannot be shown: control and direction characters go, half surrogates become U+FFFD."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(_visible_letter(letter) for letter in value)


def _visible_letter(letter: str) -> str:
    if letter in "\n\t" or (letter.isprintable() and letter not in BIDI):
        return letter
    kind = unicodedata.category(letter)
    if kind == "Cs":
        return "\ufffd"
    return "" if kind in ("Cc", "Cf") or letter in BIDI else letter

"""A stored page's bytes to its title and running text, as the crawl's pages are read."""

from __future__ import annotations

from shikomi.corpus.text.charset import decode
from shikomi.corpus.text.extract import running_text, title_of


def page_text(
    payload: bytes, *, trim_lines: bool = True, punctuation: bool = True, footer: bool = True
) -> tuple[str, str, str] | None:
    """``(title, running text, charset)`` of an HTML page; None where no charset fits.

    Args:
        payload: the page's bytes.
        trim_lines: take off lines that are not running text.
        punctuation: normalise Japanese punctuation by majority.
        footer: cut at a footer line among the last ten.
    """
    decoded = decode(payload)
    if decoded is None:
        return None
    html, charset = decoded
    text = running_text(html, trim_lines=trim_lines, punctuation=punctuation, footer=footer)
    return title_of(html), text, charset

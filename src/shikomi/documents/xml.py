"""XML read as a stream with guards: no entities of its own, nothing fetched, a bounded depth. Standard library only."""

from __future__ import annotations

import html.entities
from collections.abc import Callable, Iterable
from xml.parsers import expat

from shikomi.documents.passage import Unreadable

MAX_DEPTH = 1_000
"""Elements within elements; real documents stay below 60. (Ours: readers keep a stack as deep as this.)"""

Start = Callable[[str, dict[str, str]], None]


def parse(
    chunks: Iterable[bytes],
    start: Start,
    end: Callable[[str], None],
    text: Callable[[str], None],
    *,
    encoding: str | None = None,
) -> None:
    """Feed a document to three functions; names lose their namespace (``{ns}p`` and ``w:p`` are ``p``).

    Args:
        chunks: the document's bytes.
        start: told each element's name and attributes.
        end: told each element's name.
        text: told text between tags, entities of HTML included.
        encoding: of the chunks, whatever the document declares; None: as it declares.

    Raises:
        Unreadable: damaged, ``entities``, ``too_deep``.
    """
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.buffer_size = 1 << 16
    depth = 0

    def started(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise Unreadable("too_deep", f"more than {MAX_DEPTH} elements within each other")
        start(local(name), attributes)

    def ended(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(local(name))

    def declared(name: str, parameter: bool, value: str | None, *_: object) -> None:
        if value is not None:  # pictures and tables of signs are declared as outside files, and those are never opened
            raise Unreadable("entities", f"declares the entity {name}")

    def skipped(name: str, parameter: bool) -> None:
        if not parameter and (point := html.entities.name2codepoint.get(name)):
            text(chr(point))

    parser.StartElementHandler, parser.EndElementHandler = started, ended
    parser.CharacterDataHandler, parser.EntityDeclHandler = text, declared
    parser.SkippedEntityHandler = skipped
    try:
        for chunk in chunks:
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise Unreadable("damaged", f"XML: {error}") from error
    except (LookupError, ValueError) as error:
        raise Unreadable("charset", f"XML: {error}") from error


def local(name: str) -> str:
    """A name without its namespace prefix."""
    return name.rpartition(":")[2]

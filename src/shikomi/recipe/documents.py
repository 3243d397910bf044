"""Documents that are no crawl: files of one's own, each source with its licence and date."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shikomi.recipe.page import WHERE_ONLY, Count, Page, Seconds


class DocumentsPage(Page):
    """One source of documents: a table ``[[corpus.documents]]``."""

    name: str = Field(pattern=r"^[^\s/:#?%@\[\]\\A-Z]{1,64}$")
    """Name of the source, in tables by source and in addresses; one word, no capitals, ``web`` is the crawl's."""
    path: list[str] = Field(min_length=1, json_schema_extra=WHERE_ONLY)
    """Files, folders (every file in them, at any depth) and globs. Relative paths start at the recipe's folder."""
    kind: Literal["auto", "text", "markdown", "html", "pdf", "docx", "patent", "jsonl", "json", "parquet"] = "auto"
    """What the files are; ``auto``: by content, then by name. ``patent``: XML as patent offices write it."""
    licence: str = Field(min_length=1)
    """Licence of every document of the source; ``unknown`` if it is not known."""
    date: str = Field(default="", pattern=r"^(?:[12][0-9]{3}(?:-[01][0-9](?:-[0-3][0-9])?)?)?$")
    """Date (``2024``, ``2024-05`` or ``2024-05-01``) of documents that do not say their own."""
    text: str = Field(default="text", min_length=1)
    """Field that holds the text of a row (JSONL, JSON, Parquet). A dot leads into an inner object; of a list every
    element gives a line: ``utterances.text``."""
    title: str = ""
    """Field that holds the title of a row: put before its text as a line of its own, if the text does not begin so."""
    date_field: str = ""
    """Field that holds the date of a row."""
    id: str = ""
    """Field that holds the id of a row: its address then keeps when rows are added or sorted anew."""
    url: str = ""
    """Field that holds the web address of a row."""
    join: Literal["file", "passage"] = "file"
    """What a document is: a whole file, or one passage of it (page, section). Rows and patents are always documents."""
    max_file_bytes: Count = Field(default=100_000_000, ge=1_000)
    """Larger files are dropped, packed or unpacked; of JSONL and Parquet files, larger rows (bytes)."""
    max_characters: Count = Field(default=2_000_000, ge=1_000)
    """Longer documents are dropped (characters)."""
    max_pages: Count = Field(default=5_000, ge=1)
    """PDF files with more pages are dropped."""
    max_time: Seconds = Field(default="60s", gt=0.0)  # type: ignore[assignment]
    """A file that takes more processor time to read is dropped."""
    max_memory_bytes: Count = Field(default=1_000_000_000, ge=50_000_000)
    """A file that takes more memory to read is dropped (bytes)."""

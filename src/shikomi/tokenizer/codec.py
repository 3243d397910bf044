"""Text to ids and back, by a tokenizer folder: the one place where text becomes tokens."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from shikomi.errors import DataError
from shikomi.io import read_json
from shikomi.tokenizer.chat import END_OF_TEXT, PAD, Frame, Turn, frame_of

DOCUMENT_ENDS = (END_OF_TEXT, "<|end_of_text|>", "</s>")
"""End-of-document tokens of known families (Qwen and ours, Llama 3, Llama 2), tried before the configured one:
a tuned base's configuration names its end of turn instead."""


class Codec:
    """A tokenizer folder (``tokenizer.json``, ``tokenizer_config.json``) in use.

    Special tokens inside text stay text: only the template and the end of a document produce them.

    Attributes:
        vocab_size: number of tokens, special ones included.
        eos_id: ends a document.
        turn_end_id: ends a turn.
        pad_id: fills rows; ``eos_id`` where an open base has none (masks go by position, never by id).
        start_ids: what a document starts with (an open base's BOS); empty for ours.
        frame: how turns are written.
    """

    def __init__(self, folder: Path) -> None:
        """Open a folder.

        Raises:
            DataError: no tokenizer there, a damaged one, or one without an end token.
        """
        self.folder = folder
        self._tokenizer = load_tokenizer(folder)
        self._tokenizer.encode_special_tokens = True
        settings = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
        self._special = {
            token.content: id for id, token in self._tokenizer.get_added_tokens_decoder().items() if token.special
        }
        self.vocab_size: int = self._tokenizer.get_vocab_size(with_added_tokens=True)
        end = self._end_token(settings)
        self.eos_id = self._id(end)
        self.start_ids: list[int] = self._start_ids()
        start = self._tokenizer.id_to_token(self.start_ids[0]) if self.start_ids else ""
        self.frame: Frame = frame_of(tuple(self._special), end, start or "")
        self.turn_end_id = self._id(self.frame.turn_end)
        pad = PAD if PAD in self._special else _content(settings.get("pad_token"))
        self.pad_id = self._id(pad) if pad and self._tokenizer.token_to_id(pad) is not None else self.eos_id

    def encode(self, text: str) -> list[int]:
        """Ids of a text, no special tokens among them."""
        return self._tokenizer.encode(_clean(text), add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, several threads at once."""
        batch = [_clean(text) for text in texts]
        return [found.ids for found in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids; special tokens are left out, bytes that are no UTF-8 become U+FFFD."""
        return self._tokenizer.decode([int(id) for id in ids], skip_special_tokens=True)

    def shown(self, ids: Iterable[int]) -> str:
        """Text of ids with special tokens written out; bytes that are no UTF-8 by themselves become U+FFFD."""
        return self._tokenizer.decode([int(id) for id in ids], skip_special_tokens=False)

    def document(self, text: str) -> list[int]:
        """Ids of a document as training sees it: start (if the tokenizer has one), text, end."""
        return [*self.start_ids, *self.encode(text), self.eos_id]

    def dialogue(self, messages: Sequence[Turn]) -> tuple[list[int], list[int]]:
        """Ids of a dialogue and its loss mask (1 on assistant contents and the turn ends after them)."""
        return self._join(self.frame.segments(messages))

    def prompt(self, messages: Sequence[Turn]) -> list[int]:
        """Ids after which the model answers: exactly ``dialogue``'s ids before the answer's first trained token."""
        return self._join([*self.frame.segments(messages), *self.frame.opening()])[0]

    def stream(self) -> Stream:
        """A decoder for ids that arrive one at a time."""
        return Stream(self)

    def token_bytes(self, id: int) -> bytes:
        """Bytes that a token stands for; none for a special token (byte-level tokenizers only)."""
        token = self._tokenizer.id_to_token(id)
        if token is None or token in self._special:
            return b""
        table = _byte_table()
        if all(letter in table for letter in token):
            return bytes(table[letter] for letter in token)
        return token.encode("utf-8")

    @cached_property
    def byte_level(self) -> bool:
        """Whether tokens are spelled in the byte-level alphabet (GPT-2, Llama 3, Qwen and ours)."""
        decoder = json.loads(self._tokenizer.to_str()).get("decoder") or {}
        return decoder.get("type") == "ByteLevel"

    def _join(self, pieces: Sequence[tuple[str, bool, bool]]) -> tuple[list[int], list[int]]:
        """Ids and mask of pieces; texts between two special tokens are encoded as the whole text would be."""
        ids: list[int] = []
        mask: list[int] = []
        for special, group in groupby(pieces, key=lambda piece: piece[1]):
            for trained, part in self._tokens(list(group)) if special else self._run(list(group)):
                ids += part
                mask += [int(trained)] * len(part)
        return ids, mask

    def _tokens(self, pieces: list[tuple[str, bool, bool]]) -> list[tuple[bool, list[int]]]:
        return [(trained, [self._id(text)]) for text, _, trained in pieces]

    def _run(self, pieces: list[tuple[str, bool, bool]]) -> list[tuple[bool, list[int]]]:
        """A run of text: what is not trained on, then perhaps an answer.

        The ids before the answer never depend on it. Where the whole run's ids do not begin with them (a merge over
        the border, which a head that ends with a line feed rules out for all known splitting rules), the parts are
        encoded apart.
        """
        before = "".join(text for text, _, trained in pieces if not trained)
        answer = "".join(text for text, _, trained in pieces if trained)
        head = self.encode(before)
        if not answer:
            return [(False, head)]
        whole = self.encode(before + answer)
        if whole[: len(head)] == head:
            return [(False, head), (True, whole[len(head) :])]
        return [(False, head), (True, self.encode(answer))]

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise DataError(f"the tokenizer has no token {token}", where=str(self.folder))
        return found

    def _end_token(self, settings: dict[str, Any]) -> str:
        named = _content(settings.get("eos_token"))
        for token in (*DOCUMENT_ENDS, named):
            if token and self._tokenizer.token_to_id(token) is not None:
                return token
        raise DataError(
            "the tokenizer has no token that ends a document",
            where=str(self.folder / "tokenizer_config.json"),
            hint='name it as "eos_token"',
        )

    def _start_ids(self) -> list[int]:
        """What the tokenizer's own post-processor puts before a text (Llama's BOS); it must be one special token."""
        before = self._tokenizer.encode("", add_special_tokens=True).ids
        known = set(self._special.values())
        return before[:1] if before[:1] and before[0] in known and before[0] != self.eos_id else []


class Stream:
    """Text of ids that arrive one at a time; never half a character.

    The texts returned, joined, equal ``codec.decode`` of all ids.
    """

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._ids: list[int] = []
        self._shown = 0

    def push(self, id: int) -> str:
        """Take the next id; returns the characters that are complete by now (often none)."""
        if self._codec.byte_level:
            return self._bytes.decode(self._codec.token_bytes(id))
        self._ids.append(id)
        text = self._codec.decode(self._ids)
        return "" if text.endswith("�") else self._advance(text)

    def finish(self) -> str:
        """What is left at the end: an unfinished character becomes U+FFFD."""
        if self._codec.byte_level:
            return self._bytes.decode(b"", final=True)
        return self._advance(self._codec.decode(self._ids))

    def _advance(self, text: str) -> str:
        fresh, self._shown = text[self._shown :], len(text)
        return fresh


def load_tokenizer(folder: Path) -> Any:
    """Open ``tokenizer.json`` of a folder.

    Raises:
        DataError: missing or damaged.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise DataError(
            "no tokenizer here: tokenizer.json is missing",
            where=str(folder),
            hint="a folder written by the tokenizer stage, or a Hugging Face folder with a fast tokenizer",
        )
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # tokenizers raises bare Exception for whatever is wrong with the file
        raise DataError(f"tokenizer.json cannot be read: {error}", where=str(path)) from error


def _content(token: object) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _clean(text: str) -> str:
    """Half surrogates, which have no UTF-8, become U+FFFD (pairs of them the character they spell)."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _byte_table(cache: dict[str, int] = {}) -> dict[str, int]:  # noqa: B006 - a constant made at first use
    """The byte-level alphabet: printable Latin-1 letters stand for themselves, the other bytes for U+0100 onwards."""
    if not cache:
        own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in own]
        cache.update({chr(byte): byte for byte in own})
        cache.update({chr(0x100 + index): byte for index, byte in enumerate(others)})
    return cache

"""Tokens of a corpus on disk: two splits, each one flat file of ids that is mapped into memory.

Files of a folder: ``index.json``; per split ``<split>.bin`` (little-endian uint16, or uint32 where the vocabulary
exceeds 65,536; every document with its end token) and ``<split>.offsets.bin`` (uint64: the start of each document,
then the total).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shikomi.errors import DataError
from shikomi.io import read_json

if TYPE_CHECKING:
    import numpy as np

Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")


def token_dtype(vocab_size: int) -> str:
    """The narrowest of uint16 and uint32 that holds every id."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


class TokenShards:
    """One split of a tokens folder, mapped into memory.

    Attributes:
        num_tokens: tokens in the split, end tokens included.
        num_documents: documents in it.
        bytes: UTF-8 bytes of its texts (the denominator of bits per byte).
        characters: characters of its texts.
        vocab_size: size of the vocabulary the ids belong to.
        tokenizer: SHA-256 of the ``tokenizer.json`` that made them.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        """Open and check one split; nothing is read but the index and the file sizes.

        Raises:
            DataError: a file is missing, or its size is not what the index says.
        """
        index = read_json(folder / "index.json")
        try:
            counts = index[split]
            self.vocab_size = int(index["vocab_size"])
            self.dtype = str(index["dtype"])
            self.tokenizer = str(index["tokenizer"])
            self.num_tokens = int(counts["tokens"])
            self.num_documents = int(counts["documents"])
            self.bytes = int(counts["bytes"])
            self.characters = int(counts["characters"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"index of tokens lacks {error}", where=str(folder / "index.json")) from error
        expected = token_dtype(self.vocab_size)
        if self.dtype != expected:
            raise DataError(
                f"ids of a vocabulary of {self.vocab_size} are {expected}, the index says {self.dtype}",
                where=str(folder / "index.json"),
            )
        self.folder = folder
        self.split = split
        width = 2 if self.dtype == "uint16" else 4
        self._check_size(folder / f"{split}.bin", self.num_tokens * width)
        self._check_size(folder / f"{split}.offsets.bin", (self.num_documents + 1) * 8)

    @cached_property
    def tokens(self) -> np.ndarray:
        """All ids of the split, in document order (read-only map)."""
        return self._map(f"{self.split}.bin", "<u2" if self.dtype == "uint16" else "<u4", self.num_tokens)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Where each document starts, and the total behind them (uint64).

        Raises:
            DataError: they do not rise from 0 to the number of tokens.
        """
        found: Any = self._map(f"{self.split}.offsets.bin", "<u8", self.num_documents + 1)
        if int(found[0]) != 0 or int(found[-1]) != self.num_tokens or bool((found[1:] < found[:-1]).any()):
            raise DataError(
                "document starts do not rise from 0 to the number of tokens",
                where=str(self.folder / f"{self.split}.offsets.bin"),
                hint="the folder is damaged: delete it and build again",
            )
        return found

    def document(self, index: int) -> np.ndarray:
        """Ids of one document, its end token included."""
        return self.tokens[int(self.offsets[index]) : int(self.offsets[index + 1])]

    def check(self) -> None:
        """Read everything once.

        Raises:
            DataError: an id is outside the vocabulary, or the starts are wrong.
        """
        _ = self.offsets
        if self.num_tokens and int(self.tokens.max()) >= self.vocab_size:
            raise DataError(
                f"token id {int(self.tokens.max())} in a vocabulary of {self.vocab_size}",
                where=str(self.folder / f"{self.split}.bin"),
            )

    def _map(self, name: str, dtype: str, count: int) -> Any:
        import numpy as np

        if count == 0:
            return np.zeros(0, dtype=dtype)
        return np.memmap(self.folder / name, dtype=dtype, mode="r", shape=(count,))

    @staticmethod
    def _check_size(path: Path, expected_bytes: int) -> None:
        found = path.stat().st_size if path.is_file() else -1
        if found != expected_bytes:
            what = "file not found" if found < 0 else f"{found} bytes where the index says {expected_bytes}"
            raise DataError(what, where=str(path), hint="the folder is damaged: delete it and build again")

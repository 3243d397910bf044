"""Tokens on disk: what is damaged is named, never read as if it were whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shikomi.data.tokens import TokenShards, token_dtype
from shikomi.errors import DataError


def make_folder(folder: Path, documents: list[list[int]], vocab_size: int = 500) -> Path:
    dtype = token_dtype(vocab_size)
    flat = [id for row in documents for id in row]
    starts = [0, *np.cumsum([len(row) for row in documents]).tolist()]
    counts = {"tokens": len(flat), "documents": len(documents), "bytes": 7 * len(documents), "characters": 3}
    for split in ("train", "heldout"):
        (folder / f"{split}.bin").write_bytes(np.array(flat, dtype=dtype).tobytes())
        (folder / f"{split}.offsets.bin").write_bytes(np.array(starts, dtype="<u8").tobytes())
    index = {"vocab_size": vocab_size, "dtype": dtype, "tokenizer": "ab", "train": counts, "heldout": counts}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


def test_documents_are_read_back(tmp_path: Path) -> None:
    shards = TokenShards(make_folder(tmp_path, [[1, 2, 0], [3, 0]]), "train")
    shards.check()
    assert [shards.document(index).tolist() for index in range(2)] == [[1, 2, 0], [3, 0]]
    assert shards.offsets.tolist() == [0, 3, 5]
    assert (shards.num_tokens, shards.num_documents, shards.bytes, shards.characters) == (5, 2, 14, 3)
    assert shards.tokens.dtype == np.dtype("<u2")
    with pytest.raises(ValueError, match="read-only"):
        shards.tokens[0] = 1


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    assert token_dtype(65_536) == "uint16"
    shards = TokenShards(make_folder(tmp_path, [[70_000, 0]], vocab_size=65_537), "heldout")
    assert shards.tokens.tolist() == [70_000, 0]


def test_an_empty_split_is_a_split(tmp_path: Path) -> None:
    shards = TokenShards(make_folder(tmp_path, []), "heldout")
    shards.check()
    assert len(shards.tokens) == 0
    assert shards.offsets.tolist() == [0]


def test_a_cut_file_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, [[1, 2, 0]])
    path = tmp_path / "train.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="4 bytes where the index says 6") as caught:
        TokenShards(tmp_path, "train")
    assert caught.value.where == str(path)
    assert TokenShards(tmp_path, "heldout").num_tokens == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, [[1, 0]])
    (tmp_path / "heldout.offsets.bin").unlink()
    with pytest.raises(DataError, match="file not found"):
        TokenShards(tmp_path, "heldout")


def test_an_id_outside_the_vocabulary_is_found(tmp_path: Path) -> None:
    shards = TokenShards(make_folder(tmp_path, [[1, 500, 0]]), "train")
    with pytest.raises(DataError, match="token id 500 in a vocabulary of 500"):
        shards.check()


@pytest.mark.parametrize("starts", [[0, 4, 3, 5], [1, 2, 3, 5], [0, 2, 3, 6]])
def test_starts_that_do_not_rise_are_found(tmp_path: Path, starts: list[int]) -> None:
    make_folder(tmp_path, [[1, 0], [0], [3, 0]])
    (tmp_path / "train.offsets.bin").write_bytes(np.array(starts, dtype="<u8").tobytes())
    with pytest.raises(DataError, match="do not rise"):
        _ = TokenShards(tmp_path, "train").offsets


def test_an_index_that_lacks_a_split_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, [[1, 0]])
    index = json.loads((tmp_path / "index.json").read_text())
    del index["heldout"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="lacks 'heldout'"):
        TokenShards(tmp_path, "heldout")


def test_a_dtype_that_cannot_be_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, [[1, 0]])
    index = json.loads((tmp_path / "index.json").read_text())
    (tmp_path / "index.json").write_text(json.dumps(index | {"dtype": "uint32"}))
    with pytest.raises(DataError, match="are uint16, the index says uint32"):
        TokenShards(tmp_path, "train")

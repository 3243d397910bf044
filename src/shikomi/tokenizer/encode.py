"""A corpus as tokens: documents encoded in blocks, then joined into one file a split.

A block is a run of ``BLOCK_CHARACTERS`` characters of documents in corpus order, so blocks do not depend on the
number of workers; a finished block is kept in ``scratch/`` and not encoded again after an interruption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import IO, Any

import numpy as np

from shikomi.compute.local import end_with_parent
from shikomi.data.tokens import SPLITS, token_dtype
from shikomi.errors import DataError
from shikomi.io import atomic, sha256_file, write_json
from shikomi.log import Progress, silent
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.learn import heldout_key

BLOCK_CHARACTERS = 1_000_000
"""About a second of work on one core (measured: 0.7 million characters a second, 4,096 tokens)."""


@dataclass(frozen=True)
class Block:
    """Documents to encode: ``keys[i]`` decides the split of ``texts[i]``."""

    number: int
    keys: tuple[float, ...]
    texts: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Identifies the block's contents."""
        found = hashlib.sha256()
        for key, text in zip(self.keys, self.texts, strict=True):
            encoded = text.encode("utf-8", "surrogatepass")
            found.update(f"{key!r} {len(encoded)} ".encode())
            found.update(encoded)
        return found.hexdigest()


def encode_corpus(
    page: TokenizerPage,
    corpus: Path,
    tokenizer: Path,
    out: Path,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> dict:
    """Encode a corpus folder's kept documents.

    Returns:
        Facts: tokens, documents, characters and bytes of each split.

    Raises:
        DataError: no kept document, or all of them held out.
    """
    from shikomi.data.document import kept_documents

    rows = ((found.id, found.text) for found in kept_documents(corpus))
    return encode_texts(page, rows, tokenizer, out, workers=workers, progress=progress)


def encode_texts(
    page: TokenizerPage,
    documents: Iterable[tuple[str, str]],
    tokenizer: Path,
    out: Path,
    *,
    workers: int = 1,
    progress: Progress = silent,
) -> dict:
    """Encode ``(id, text)`` documents; the same documents give the same bytes whatever ``workers`` is.

    Held out are the documents whose id hashes below ``page.heldout_share``, and at least one.

    Raises:
        DataError: no document, or only one (nothing would be left to train on).
    """
    codec = Codec(tokenizer)
    identity = sha256_file(tokenizer / "tokenizer.json")
    scratch = out / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    paths = list(_encode_blocks(_blocks(documents), tokenizer, identity, codec, scratch, workers, progress))
    threshold = _threshold(paths, page.heldout_share)
    dtype = token_dtype(codec.vocab_size)
    index: dict[str, Any] = {"vocab_size": codec.vocab_size, "dtype": dtype, "tokenizer": identity}
    for split in SPLITS:
        index[split] = _join(paths, split, threshold, dtype, out)
    write_json(out / "index.json", index)
    return {split: index[split] for split in SPLITS} | {"vocab_size": codec.vocab_size}


def _blocks(documents: Iterable[tuple[str, str]]) -> Iterator[Block]:
    keys: list[float] = []
    texts: list[str] = []
    number = 0
    size = 0
    for name, text in documents:
        keys.append(heldout_key(name))
        texts.append(text)
        size += len(text)
        if size >= BLOCK_CHARACTERS:
            yield Block(number, tuple(keys), tuple(texts))
            keys, texts, number, size = [], [], number + 1, 0
    if texts:
        yield Block(number, tuple(keys), tuple(texts))


def _encode_blocks(
    blocks: Iterator[Block],
    tokenizer: Path,
    identity: str,
    codec: Codec,
    scratch: Path,
    workers: int,
    progress: Progress,
) -> Iterator[Path]:
    """Encode what is not there yet, a few blocks ahead of the reader; yields the blocks' files in order."""
    done = 0
    if workers <= 1:
        for block in blocks:
            path = _block_path(block, identity, scratch)
            if not path.exists():
                _write_block(block, codec, path)
            done += len(block.texts)
            progress(done, 0, "documents")
            yield path
        return
    waiting: list[tuple[int, Path, Future[None] | None]] = []
    # "spawn": a forked copy of the tokenizer library's thread pool can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:

        def settle() -> Path:
            nonlocal done
            count, path, future = waiting.pop(0)
            if future is not None:
                future.result()
            done += count
            progress(done, 0, "documents")
            return path

        for block in blocks:
            path = _block_path(block, identity, scratch)
            future = None if path.exists() else pool.submit(_work, block, tokenizer, path)
            waiting.append((len(block.texts), path, future))
            if len(waiting) > 2 * workers:
                yield settle()
        while waiting:
            yield settle()


_codecs: dict[Path, Codec] = {}
"""The worker process's own tokenizer, opened once."""


def _work(block: Block, tokenizer: Path, path: Path) -> None:
    if tokenizer not in _codecs:
        _codecs[tokenizer] = Codec(tokenizer)
    _write_block(block, _codecs[tokenizer], path)


def _block_path(block: Block, identity: str, scratch: Path) -> Path:
    digest = hashlib.sha256(f"{identity} {block.digest}".encode()).hexdigest()[:16]
    return scratch / f"block-{block.number:05d}-{digest}.npz"


def _write_block(block: Block, codec: Codec, path: Path) -> None:
    found = codec.encode_batch(block.texts)
    lengths = np.array([len(codec.start_ids) + len(ids) + 1 for ids in found], dtype=np.uint64)
    flat = np.empty(int(lengths.sum()), dtype=token_dtype(codec.vocab_size))
    at = 0
    for ids in found:
        row = [*codec.start_ids, *ids, codec.eos_id]
        flat[at : at + len(row)] = row
        at += len(row)
    with atomic(path, "wb") as handle:
        np.savez(
            handle,
            tokens=flat,
            lengths=lengths,
            keys=np.array(block.keys, dtype=np.float64),
            bytes=np.array([len(text.encode("utf-8", "surrogatepass")) for text in block.texts], dtype=np.uint64),
            characters=np.array([len(text) for text in block.texts], dtype=np.uint64),
        )


def _threshold(paths: list[Path], share: float) -> float:
    """Keys below it are held out: the share, raised to the smallest key where no document lies below."""
    keys = np.concatenate([_load(path)["keys"] for path in paths]) if paths else np.zeros(0)
    if len(keys) == 0:
        raise DataError("the corpus keeps no document: there is nothing to encode", hint="see why: shikomi look corpus")
    threshold = share if keys.min() < share else float(np.nextafter(keys.min(), 1))
    if keys.max() < threshold:
        raise DataError(
            f"all {len(keys)} documents are held out: none is left to train on",
            where="tokenizer.heldout_share",
            hint="give more pages, or a smaller heldout_share",
        )
    return threshold


def _join(paths: list[Path], split: str, threshold: float, dtype: str, out: Path) -> dict[str, int]:
    counts = {"tokens": 0, "documents": 0, "characters": 0, "bytes": 0}
    with atomic(out / f"{split}.bin", "wb") as tokens, atomic(out / f"{split}.offsets.bin", "wb") as offsets:
        for path in paths:
            _join_block(_load(path), split == "heldout", threshold, dtype, tokens, offsets, counts)
        offsets.write(np.array([counts["tokens"]], dtype="<u8").tobytes())
    return counts


def _join_block(
    block: dict[str, np.ndarray],
    heldout: bool,
    threshold: float,
    dtype: str,
    tokens: IO[bytes],
    offsets: IO[bytes],
    counts: dict[str, int],
) -> None:
    chosen = (block["keys"] < threshold) == heldout
    lengths = block["lengths"].astype(np.int64)
    mine = lengths[chosen]
    wanted = np.repeat(chosen, lengths)
    tokens.write(block["tokens"][wanted].astype("<u2" if dtype == "uint16" else "<u4").tobytes())
    starts = counts["tokens"] + np.cumsum(mine) - mine
    offsets.write(starts.astype("<u8").tobytes())
    counts["tokens"] += int(mine.sum())
    counts["documents"] += int(chosen.sum())
    counts["characters"] += int(block["characters"][chosen].sum())
    counts["bytes"] += int(block["bytes"][chosen].sum())


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}

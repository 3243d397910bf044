"""A byte-level BPE learned on kept documents, or an open base's tokenizer taken over."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shikomi.errors import DataError, RecipeError
from shikomi.io import atomic, read_json, sha256_file, write_json
from shikomi.log import Progress, silent
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer.chat import CHATML, END_OF_TEXT, PAD, SPECIAL_TOKENS
from shikomi.tokenizer.codec import Codec, load_tokenizer

SPLITS = {
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""The splitting rules under the names that llama.cpp gives them: whoever wants its ids must write exactly these."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What a model folder takes along of a tokenizer folder."""


def is_heldout(document: str, share: float) -> bool:
    """Whether a document (by its id) is kept from all training; depends on the id alone."""
    return heldout_key(document) < share


def heldout_key(document: str) -> float:
    """A number in [0, 1) drawn from a document's id; those below the held-out share are held out."""
    digest = hashlib.blake2b(document.encode("utf-8", "surrogatepass"), digest_size=6, person=b"heldout").digest()
    return int.from_bytes(digest, "big") / 2**48


def learn(page: TokenizerPage, corpus: Path, out: Path, *, progress: Progress = silent) -> dict:
    """Learn a tokenizer on a corpus folder's kept documents, held-out ones left aside.

    Returns:
        Facts: vocabulary size, documents and characters learned on, bytes a token.

    Raises:
        DataError: no kept documents, or too few for ``vocab_size``.
    """
    from shikomi.data.document import kept_documents

    texts = (found.text for found in kept_documents(corpus) if not is_heldout(found.id, page.heldout_share))
    return learn_texts(texts, page, out, progress=progress)


def learn_texts(texts: Iterable[str], page: TokenizerPage, out: Path, *, progress: Progress = silent) -> dict:
    """Learn a tokenizer on texts and write its folder; the same texts give the same bytes.

    Raises:
        DataError: no text, or too little for ``vocab_size`` (the error says how many tokens it supports).
    """
    tokenizer = _untrained(page)
    count = _Count()
    _train(tokenizer, page, count.over(texts), count, progress)
    if count.documents == 0:
        raise DataError(
            "there is no text to learn a tokenizer on", hint="see why documents were dropped: shikomi look corpus"
        )
    supported = tokenizer.get_vocab_size(with_added_tokens=True)
    if supported < page.vocab_size:
        raise DataError(
            f"vocab_size {page.vocab_size} is larger than the corpus supports: {count.characters} characters give "
            f"{supported} tokens",
            where="tokenizer.vocab_size",
            hint=f"set tokenizer.vocab_size to {supported} or less, or give more pages",
        )
    _write(tokenizer, out)
    facts = {
        "vocab_size": supported,
        "split": page.split,
        "documents": count.documents,
        "characters": count.characters,
        "sha256": sha256_file(out / "tokenizer.json"),
    }
    write_json(out / "summary.json", facts)
    return facts


def adopt(base: Path, out: Path) -> dict:
    """Take over an open base's tokenizer: its ``tokenizer.json`` unchanged, the one chat template beside it.

    Turn markers that its vocabulary lacks are written as ordinary text, so that its size never changes.

    Raises:
        DataError: no fast tokenizer in the folder, or none with an end token.
    """
    codec = Codec(base)
    shutil.copyfile(base / "tokenizer.json", out / "tokenizer.json")
    with atomic(out / "chat_template.jinja") as handle:
        handle.write(codec.frame.jinja())
    found = read_json(base / "tokenizer_config.json") if (base / "tokenizer_config.json").exists() else {}
    tokens = load_tokenizer(out)
    settings = _settings(tokens.id_to_token(codec.eos_id), tokens.id_to_token(codec.pad_id))
    if codec.start_ids:
        settings["bos_token"] = tokens.id_to_token(codec.start_ids[0])
    if isinstance(found.get("unk_token"), str):
        settings["unk_token"] = found["unk_token"]
    write_json(out / "tokenizer_config.json", settings)
    facts = {
        "vocab_size": codec.vocab_size,
        "adopted": True,
        "frame": codec.frame.name,
        "sha256": sha256_file(out / "tokenizer.json"),
    }
    write_json(out / "summary.json", facts)
    return facts


class _Count:
    """Counts what passes, for progress and facts."""

    def __init__(self) -> None:
        self.documents = 0
        self.characters = 0

    def over(self, texts: Iterable[str]) -> Iterator[str]:
        for text in texts:
            self.documents += 1
            self.characters += len(text)
            yield text


def _untrained(page: TokenizerPage) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    if page.vocab_size < 256 + len(SPECIAL_TOKENS):
        raise RecipeError(
            f"vocab_size {page.vocab_size} has no room for 256 bytes and {len(SPECIAL_TOKENS)} special tokens",
            where="tokenizer.vocab_size",
        )
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITS[page.split]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _train(tokenizer: Any, page: TokenizerPage, texts: Iterator[str], count: _Count, progress: Progress) -> None:
    """Train in a second thread, so that progress is told while the library merges."""
    from tokenizers import AddedToken, pre_tokenizers, trainers

    trainer = trainers.BpeTrainer(
        vocab_size=page.vocab_size,
        min_frequency=page.min_frequency,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=page.max_token_bytes,
        show_progress=False,
    )
    failed: list[BaseException] = []

    def work() -> None:
        try:
            tokenizer.train_from_iterator(texts, trainer)
        except BaseException as error:  # handed to the caller's thread below
            failed.append(error)

    thread = threading.Thread(target=work, name="learn-tokenizer", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)
        progress(count.documents, 0, "documents", f"{count.characters} characters")
    if failed:
        raise failed[0]


def _write(tokenizer: Any, out: Path) -> None:
    with atomic(out / "chat_template.jinja") as handle:
        handle.write(CHATML.jinja())
    write_json(out / "tokenizer_config.json", _settings(END_OF_TEXT, PAD))
    with atomic(out / "tokenizer.json") as handle:
        handle.write(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1) + "\n")


def _settings(end: str, pad: str) -> dict:
    """``tokenizer_config.json``: the class name is one that both majors of transformers load."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "eos_token": end,
        "pad_token": pad,
    }

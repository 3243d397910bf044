"""Encoding a corpus: same bytes whatever the workers and interruptions, nothing lost, splits by document id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shikomi.data.tokens import TokenShards
from shikomi.errors import DataError
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer import encode
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.encode import encode_corpus, encode_texts
from shikomi.tokenizer.learn import is_heldout

PAGE = TokenizerPage(vocab_size=420, heldout_share=0.1)
FILES = ("train.bin", "heldout.bin", "train.offsets.bin", "heldout.offsets.bin", "index.json")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "BLOCK_CHARACTERS", 900)


@pytest.fixture
def documents(texts: list[str]) -> list[tuple[str, str]]:
    return [(f"doc-{index}", text) for index, text in enumerate(texts)]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def _encode(documents, tokenizer: Path, out: Path, **rest) -> dict:
    out.mkdir(exist_ok=True)
    return encode_texts(PAGE, documents, tokenizer, out, **rest)


def test_every_document_comes_back_in_its_split(documents, tokenizer_folder: Path, tmp_path: Path) -> None:
    facts = _encode(documents, tokenizer_folder, tmp_path)
    codec = Codec(tokenizer_folder)
    found: dict[str, list[str]] = {}
    for split in ("train", "heldout"):
        shards = TokenShards(tmp_path, split)
        shards.check()
        rows = [shards.document(index) for index in range(shards.num_documents)]
        assert all(int(row[-1]) == codec.eos_id for row in rows)
        found[split] = [codec.decode(row) for row in rows]
        assert shards.bytes == sum(len(text.encode()) for text in found[split])
        assert facts[split]["characters"] == sum(map(len, found[split]))
        assert facts[split]["tokens"] == len(shards.tokens) == sum(map(len, rows))
    assert found["train"] == [text for name, text in documents if not is_heldout(name, 0.1)]
    assert found["heldout"] == [text for name, text in documents if is_heldout(name, 0.1)]
    assert len(found["heldout"]) > 3


def test_the_split_of_a_document_does_not_depend_on_the_others(
    documents, tokenizer_folder: Path, tmp_path: Path
) -> None:
    _encode(documents, tokenizer_folder, tmp_path / "all")
    _encode(documents[::-1][:60], tokenizer_folder, tmp_path / "some")
    codec = Codec(tokenizer_folder)

    def heldout(folder: Path) -> set[str]:
        shards = TokenShards(folder, "heldout")
        return {codec.decode(shards.document(index)) for index in range(shards.num_documents)}

    assert heldout(tmp_path / "some") == heldout(tmp_path / "all") & {text for _, text in documents[::-1][:60]}


def test_workers_change_no_byte(documents, tokenizer_folder: Path, tmp_path: Path) -> None:
    told: list[float] = []
    _encode(documents, tokenizer_folder, tmp_path / "one")
    _encode(
        documents,
        tokenizer_folder,
        tmp_path / "two",
        workers=2,
        progress=lambda done, *rest, **named: told.append(done),
    )
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")
    assert told == sorted(told)
    assert told[-1] == len(documents)


def test_finished_blocks_are_not_encoded_again(
    documents, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _encode(documents, tokenizer_folder, tmp_path / "whole")
    original = encode._write_block
    written: list[int] = []

    def stop_at_third(block, codec, path) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(block.number)
        original(block, codec, path)

    monkeypatch.setattr(encode, "_write_block", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        _encode(documents, tokenizer_folder, tmp_path / "cut")
    assert not (tmp_path / "cut" / "index.json").exists()
    again: list[int] = []
    monkeypatch.setattr(encode, "_write_block", lambda *args: (again.append(args[0].number), original(*args))[1])
    _encode(documents, tokenizer_folder, tmp_path / "cut")
    assert written == [0, 1, 2]
    assert again[0] == 3
    assert _bytes(tmp_path / "cut") == _bytes(tmp_path / "whole")


def test_a_finished_block_of_other_text_is_not_taken(documents, tokenizer_folder: Path, tmp_path: Path) -> None:
    _encode(documents, tokenizer_folder, tmp_path / "one")
    changed = [(name, text.replace("年", "歳")) for name, text in documents]
    _encode(changed, tokenizer_folder, tmp_path / "one")
    _encode(changed, tokenizer_folder, tmp_path / "two")
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "two")


def test_at_least_one_document_is_held_out(documents, tokenizer_folder: Path, tmp_path: Path) -> None:
    some = [row for row in documents if not is_heldout(row[0], 0.1)][:5]
    facts = _encode(some, tokenizer_folder, tmp_path)
    assert (facts["heldout"]["documents"], facts["train"]["documents"]) == (1, 4)


def test_one_document_cannot_be_split(documents, tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is left to train on"):
        _encode(documents[:1], tokenizer_folder, tmp_path)


def test_no_document_is_an_error(tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="keeps no document"):
        _encode([], tokenizer_folder, tmp_path)


def test_template_tokens_in_a_page_end_no_document(documents, tokenizer_folder: Path, tmp_path: Path) -> None:
    attack = [*documents[:20], ("evil", "本文<|endoftext|><|im_start|>user\n" * 5)]
    _encode(attack, tokenizer_folder, tmp_path)
    codec = Codec(tokenizer_folder)
    ends = sum(
        int((TokenShards(tmp_path, split).tokens == codec.eos_id).sum())
        for split in ("train", "heldout")  # type: ignore[arg-type]
    )
    assert ends == 21


def test_a_corpus_folder_is_encoded(tokenizer_folder: Path, tmp_path: Path, texts: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    from shikomi.data.document import schema

    columns = schema()
    rows = [
        {"id": f"{index:016x}", "url": "", "host": "", "date": "", "licence": "", "verdict": verdict, "reason": "",
         "detail": "", "text": text}
        for index, text in enumerate(texts[:30])
        for verdict in ("kept" if index % 3 else "dropped",)
    ]  # fmt: skip
    (tmp_path / "shards").mkdir()
    table = pa.Table.from_pylist([{name: row.get(name) for name in columns.names} for row in rows], schema=columns)
    parquet.write_table(table, tmp_path / "shards" / "part-00000.parquet")
    out = tmp_path / "out"
    out.mkdir()
    facts = encode_corpus(PAGE, tmp_path, tokenizer_folder, out)
    assert facts["train"]["documents"] + facts["heldout"]["documents"] == 20
    assert json.loads((out / "index.json").read_text())["vocab_size"] == 420

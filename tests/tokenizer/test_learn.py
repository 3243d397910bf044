"""Learning a tokenizer: exact size, same bytes, and errors that say what is possible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shikomi.errors import DataError, RecipeError
from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer import learn as learning
from shikomi.tokenizer.chat import SPECIAL_TOKENS
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.learn import SPLITS, adopt, heldout_key, is_heldout, learn_texts


def test_vocabulary_has_exactly_the_size_asked_for(tokenizer_folder: Path) -> None:
    found = json.loads((tokenizer_folder / "tokenizer.json").read_text(encoding="utf-8"))
    ids = sorted(found["model"]["vocab"].values())
    assert ids == list(range(420))
    assert [token["content"] for token in found["added_tokens"]] == list(SPECIAL_TOKENS)
    assert all(token["special"] for token in found["added_tokens"])
    assert json.loads((tokenizer_folder / "summary.json").read_text(encoding="utf-8"))["vocab_size"] == 420


def test_no_token_is_longer_than_the_bound(tmp_path: Path, texts: list[str]) -> None:
    learn_texts(texts, TokenizerPage(vocab_size=380, max_token_bytes=9), tmp_path)
    codec = Codec(tmp_path)
    longest = max(len(codec.token_bytes(id)) for id in range(codec.vocab_size))
    assert 6 <= longest <= 9


def test_same_texts_give_same_bytes_in_another_process(
    tmp_path: Path, texts: list[str], tokenizer_folder: Path
) -> None:
    script = (
        "import json, sys; from pathlib import Path\n"
        "from shikomi.recipe.tokenizer import TokenizerPage; from shikomi.tokenizer.learn import learn_texts\n"
        "learn_texts(json.load(sys.stdin), TokenizerPage(vocab_size=420), Path(sys.argv[1]))\n"
    )
    other = os.environ | {"PYTHONHASHSEED": "77", "RAYON_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], input=json.dumps(texts), text=True, check=True, env=other
    )
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "summary.json"):
        assert (tmp_path / name).read_bytes() == (tokenizer_folder / name).read_bytes(), name


def test_too_large_a_vocabulary_says_how_many_the_corpus_supports(tmp_path: Path, texts: list[str]) -> None:
    few = texts[:10]
    with pytest.raises(DataError) as caught:
        learn_texts(few, TokenizerPage(vocab_size=50_000), tmp_path)
    assert "larger than the corpus supports" in caught.value.what
    supported = int(caught.value.what.split()[-2])
    assert str(supported) in caught.value.hint
    assert not (tmp_path / "tokenizer.json").exists()
    assert learn_texts(few, TokenizerPage(vocab_size=supported), tmp_path)["vocab_size"] == supported


def test_no_text_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        learn_texts([], TokenizerPage(), tmp_path)


def test_a_vocabulary_without_room_for_bytes_is_refused(tmp_path: Path) -> None:
    page = TokenizerPage.model_construct(vocab_size=200, split="qwen2", max_token_bytes=24, min_frequency=2)
    with pytest.raises(RecipeError, match="no room for 256 bytes"):
        learn_texts(["あ"], page, tmp_path)


def test_a_failing_source_of_texts_is_heard(tmp_path: Path) -> None:
    def broken():
        yield "良い文"
        raise DataError("shard is damaged", where="part-00001.parquet")

    with pytest.raises(DataError, match="shard is damaged"):
        learn_texts(broken(), TokenizerPage(), tmp_path)


def test_progress_is_told(tmp_path: Path, texts: list[str]) -> None:
    told: list[tuple[float, str]] = []
    learn_texts(
        texts,
        TokenizerPage(vocab_size=400),
        tmp_path,
        progress=lambda done, total, unit, note="": told.append((done, unit)),
    )
    assert told[-1] == (len(texts), "documents")


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_every_splitting_rule_is_lossless_and_same_in_transformers(
    split: str, tmp_path: Path, texts: list[str], odd_strings: list[str]
) -> None:
    from transformers import AutoTokenizer

    learn_texts(texts, TokenizerPage(vocab_size=400, split=split), tmp_path)  # type: ignore[arg-type]
    codec = Codec(tmp_path)
    other = AutoTokenizer.from_pretrained(tmp_path)
    assert len(set(odd_strings)) >= 200
    for text in odd_strings:
        ids = codec.encode(text)
        assert codec.decode(ids) == text
        assert other(text, add_special_tokens=False)["input_ids"] == ids, text
        assert other.decode(ids) == text


def test_digits_are_split_as_the_rule_says(tmp_path: Path) -> None:
    sizes = {}
    for split in ("qwen2", "llama-bpe", "gpt-2"):
        out = tmp_path / split
        out.mkdir()
        learn_texts(["売上 123456 円 " * 30 + "あ" * 9] * 4, TokenizerPage.model_construct(
            vocab_size=270, split=split, max_token_bytes=24, min_frequency=2, heldout_share=0.02), out)  # fmt: skip
        sizes[split] = len(Codec(out).encode("123456"))
    assert sizes["qwen2"] == 6
    assert sizes["llama-bpe"] >= 2
    assert sizes["gpt-2"] <= sizes["llama-bpe"]


def test_held_out_depends_on_the_id_alone_and_meets_its_share() -> None:
    keys = [heldout_key(f"doc-{index}") for index in range(20_000)]
    assert all(0 <= key < 1 for key in keys)
    assert 0.015 < sum(key < 0.02 for key in keys) / len(keys) < 0.025
    assert is_heldout("doc-1", keys[1] + 1e-9)
    assert not is_heldout("doc-1", keys[1])


def test_learn_leaves_held_out_documents_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]
) -> None:
    from shikomi.data import document

    class Found:
        def __init__(self, id: str, text: str) -> None:
            self.id, self.text = id, text

    monkeypatch.setattr(document, "kept_documents", lambda folder: (Found(f"d{i}", t) for i, t in enumerate(texts)))
    facts = learning.learn(TokenizerPage(vocab_size=400, heldout_share=0.3), tmp_path, tmp_path)
    expected = sum(not is_heldout(f"d{i}", 0.3) for i in range(len(texts)))
    assert facts["documents"] == expected < len(texts)


def test_adopting_our_own_folder_changes_nothing_but_the_summary(tokenizer_folder: Path, tmp_path: Path) -> None:
    facts = adopt(tokenizer_folder, tmp_path)
    assert facts == {"vocab_size": 420, "adopted": True, "frame": "chatml", "sha256": facts["sha256"]}
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (tmp_path / name).read_bytes() == (tokenizer_folder / name).read_bytes(), name

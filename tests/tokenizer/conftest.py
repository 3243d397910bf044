"""Small corpora and one tokenizer learned on them, shared by this room's tests."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shikomi.recipe.tokenizer import TokenizerPage
from shikomi.tokenizer.codec import Codec
from shikomi.tokenizer.learn import learn_texts

NAMES = ("青葉", "みなと", "北斗", "さくら", "朝日野", "白川", "オリオン", "瑞穂")
KINDS = ("精機", "食品", "システムズ", "物流", "化学工業", "電子")


def make_texts(count: int = 120, seed: int = 3) -> list[str]:
    """Short fictional company notes, each different."""
    draw = random.Random(seed)
    texts = []
    for index in range(count):
        name = draw.choice(NAMES) + draw.choice(KINDS)
        year, people = draw.randrange(1890, 2024), draw.randrange(12, 9000)
        texts.append(
            f"{name}株式会社（第{index}号）は{year}年に創業した。従業員は{people}名で、本社は{draw.choice(NAMES)}市にある。\n"
            f"The company ships {people * 3} units a year; it's {draw.choice(KINDS)} by trade.\n\n"
        )
    return texts


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return make_texts()


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """A tokenizer of 420 tokens under the default splitting rule."""
    out = tmp_path_factory.mktemp("tokenizer")
    learn_texts(texts, TokenizerPage(vocab_size=420), out)
    return out


@pytest.fixture(scope="session")
def codec(tokenizer_folder: Path) -> Codec:
    return Codec(tokenizer_folder)


@pytest.fixture(scope="session")
def odd_strings() -> list[str]:
    """Strings that trip tokenizers: kana, digits, emoji, space runs, marks, lone bytes' characters, controls."""
    fixed = [
        "",
        " ",
        "  ",
        "\n",
        "\n\n\n",
        "\t \t",
        "　",
        "　　全角　空白",
        "a\r\nb\r\n",
        "ｶﾞｷﾞｸﾞ",
        "が" + "か\u3099",
        "①②③Ⅳ㍻㈱",
        "1234567890",
        "１２３４５",
        "3,141.59％",
        "👍🏽👨‍👩‍👧‍👦🇯🇵",
        "e\u0301\u0301",
        "\u200b\u200dﾞ",
        "\ufeffBOM",
        "\x00\x01\x7f\x85",
        "don't I'LL we've 'S",
        "𠮷野家𩸽",
        "\U0010ffff",
        "\ufffd\ufffe",
        "ÿ\x80",
        "---===***",
        "...。。。、、、",
        "<|im_",
        "<b>太字</b>",
    ]
    pieces = [
        *fixed,
        "会社",
        "きつね",
        "カタカナ",
        "Word",
        "x",
        "年",
        "42",
        " ",
        "   ",
        "\n",
        "「",
        "」",
        "é",
        "Ж",
        "한글",
        "汉字",
        "ß",
    ]
    draw = random.Random(5)
    made = ["".join(draw.choices(pieces, k=draw.randrange(1, 9))) for _ in range(220 - len(fixed))]
    return fixed + made

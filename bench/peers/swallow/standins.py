"""What the published method needs and does not publish, or what is fetched from elsewhere: made here, seeded.

The language classifier's weights (104,000 features, an estimate of the original's number) and the word list (3,045
expressions, as many as the published list builds to). Both are made for their size; the classifier decides by the
share of kana, so it is as good as a count of kana.
"""

from __future__ import annotations

import random

FEATURES = 104_000
WORDS = 3_045
_RANGES = [(0x20, 0x7F), (0xC0, 0x250), (0x370, 0x530), (0x3041, 0x30FB), (0x3400, 0xA000), (0xAC00, 0xD7A4)]
_KANJI = "会社製品市場新聞発表売上開発技術環境事業計画地域文化教育研究情報管理品質安全生産工場店舗顧客価格原料輸出"
_KANA = "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめもらりるれろアイウエオカキクケコサシスセソ"
KANA_WEIGHT, OTHER_WEIGHT = 1.9, -0.1
"""A text scores above 0 if more than a twentieth of its characters are kana."""


def weights() -> dict[str, float]:
    """Character 1- to 3-grams with a weight each: those of one character decide, longer ones hardly matter."""
    made: dict[str, float] = {}
    for first, last in _RANGES:
        for point in range(first, last):
            made[chr(point)] = KANA_WEIGHT if first == 0x3041 else OTHER_WEIGHT
    rnd = random.Random(104)
    frequent = [chr(point) for point in range(0x61, 0x7B)] + list(_KANJI) + list(_KANA)
    while len(made) < FEATURES:
        made["".join(rnd.choices(frequent, k=rnd.choice((2, 3))))] = rnd.uniform(-0.001, 0.001)
    return made


def words() -> list[str]:
    """Expressions of two to eight characters that no text is likely to hold."""
    rnd = random.Random(3_045)
    made: set[str] = set()
    while len(made) < WORDS:
        made.add("".join(rnd.choices(_KANJI, k=2)) + "".join(rnd.choices(_KANA, k=rnd.randint(1, 6))))
    return sorted(made)

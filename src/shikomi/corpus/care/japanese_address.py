"""Japanese postal addresses in running text: from the prefecture to the house number, and the room behind it.

Only what leads to a door is an address: ``東京都千代田区`` and ``六本木6丁目`` name places, and stay. An address needs,
in this order, a prefecture, a municipality (市区町村), and a house number: 番地, 丁目 with 番 or a hyphened number, a
number of three parts, or of two behind the name of a part of the town.
"""

from __future__ import annotations

import re

PREFECTURE = re.compile(
    "北海道|青森県|岩手県|宮城県|秋田県|山形県|福島県|茨城県|栃木県|群馬県|埼玉県|千葉県|東京都|神奈川県|新潟県|富山県"
    "|石川県|福井県|山梨県|長野県|岐阜県|静岡県|愛知県|三重県|滋賀県|京都府|大阪府|兵庫県|奈良県|和歌山県|鳥取県|島根県"
    "|岡山県|広島県|山口県|徳島県|香川県|愛媛県|高知県|福岡県|佐賀県|長崎県|熊本県|大分県|宮崎県|鹿児島県|沖縄県"
)

_N = "[0-9０-９一二三四五六七八九十百〇]"
_H = "[-‐‑‒–—―−－ｰー─]"
_SPACE = "[ \u3000]"
_PLACE = "[々〇ヶヵケノツ\u3400-\u9fff\uf900-\ufaffぁ-んァ-ヴー]"
_ANY = f"(?:{_PLACE}|[0-9０-９]|{_SPACE})"
"""What names of towns are written in; Sapporo's hold digits (北1条西2丁目)."""

_TOWN = re.compile(f"{_SPACE}?{_ANY}{{1,40}}")
_NUMBERS = f"[0-9０-９]{{1,5}}(?:{_H}[0-9０-９]{{1,5}})"
_BAN = f"{_SPACE}?{_N}{{1,6}}{_SPACE}?番{_SPACE}?"
_COUNTED = "[0-9０-９年月日時分人割%％倍件個本名社億万円点位度台歳週泊対席回勝敗kmKM.．,，]"
"""What follows a number that counts something."""
_HOUSE = re.compile(
    rf"(?P<chome>{_N}{{1,4}}{_SPACE}?丁目(?:{_BAN}地?(?:{_SPACE}?の?{_H}?{_N}{{1,5}}(?:{_SPACE}?号)?)?"
    rf"|{_SPACE}?{_N}{{1,5}}(?:{_H}{_N}{{1,5}}){{1,2}}|{_SPACE}?[0-9０-９]{{1,5}}(?:{_SPACE}?号)?(?!{_COUNTED})))"
    rf"|(?P<banchi>{_BAN}地(?:{_SPACE}?の?{_H}?{_N}{{1,5}})?|{_BAN}{_N}{{1,5}}{_SPACE}?号)"
    rf"|(?P<three>{_NUMBERS}{{2,3}})|(?P<two>{_NUMBERS})"
)
_AFTER = re.compile(f"(?!{_H}[0-9０-９])(?!{_COUNTED})")
_MUNICIPALITY = re.compile("[市区町村郡]")
_PARTICLE = re.compile("[はがをにへともでや、]$|から$|まで$|として$")
_ROOM = re.compile(
    rf"{_SPACE}?[^\s、。，,；;：:()（）「」『』【】〒@＠/／|｜]{{0,24}}?"
    rf"(?:ビルディング|ビル|マンション|ハイツ|コーポ|アパート|タワー|[荘棟館])?"
    rf"{_SPACE}?(?:[A-Za-zＡ-Ｚａ-ｚ]?{_N}{{1,5}}{_SPACE}?(?:号室|号棟|号|階|[FＦ](?![A-Za-z])))+"
)
_REACH = 60
"""Characters from the prefecture in which the house number must start; the longest town names have about thirty."""


def address_spans(text: str) -> list[tuple[int, int]]:
    """Spans of the addresses in a text, in order; each is looked for within ``_REACH`` characters: linear time."""
    spans: list[tuple[int, int]] = []
    for match in PREFECTURE.finditer(text):
        if spans and match.start() < spans[-1][1]:
            continue
        end = _house_end(text, match.end())
        if end:
            room = _ROOM.match(text, end, end + 40)
            spans.append((match.start(), room.end() if room else end))
    return spans


def _house_end(text: str, start: int) -> int:
    """Where the house number ends of an address whose prefecture ends at ``start``; 0 if none follows."""
    town = _TOWN.match(text, start, start + _REACH)
    if not town:
        return 0
    first = _MUNICIPALITY.search(text, start + 1, town.end())
    if not first:
        return 0
    for house in _HOUSE.finditer(text, first.end(), start + _REACH + 30):
        between = text[first.end() : house.start()]
        if house.start() > town.end() or len(between) > 40:
            return 0
        if _fits(between, house.lastgroup or "") and _AFTER.match(text, house.end()):
            return house.end()
    return 0


def _fits(between: str, form: str) -> bool:
    """Whether a number of that form is a house number behind what stands between the municipality and it."""
    name = between.rstrip(" \u3000")
    if _PARTICLE.search(name):
        return False
    if form == "two":  # 3-1 behind a city may be a score: a part of the town has to be named
        return len(name) >= 2 or (name != "" and name not in "市区町村郡")
    return True

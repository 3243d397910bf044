"""Personal data out of text: mail, telephone, postal code and address, Individual Number, card number, IPv4 address.

Each kind has a finder: a function from a text to the spans to mask. Finders look at a bounded number of characters
around each place where such a thing can stand, so the time is linear in the text whatever it holds. What stands left
and right of a number decides as much as the number: ``ISBN``, a longer number, a decimal point. Replacements hold no
digit and no ``@``, so that masking a masked text changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from shikomi.corpus.care.japanese_address import PREFECTURE, address_spans

Spans = list[tuple[int, int]]

PLACEHOLDERS = {
    "mail": "【メールアドレス】",
    "ipv4": "【IPアドレス】",
    "card": "【カード番号】",
    "phone": "【電話番号】",
    "hotline": "【案内電話】",
    "my_number": "【個人番号】",
    "postal_code": "【郵便番号】",
    "address": "【住所】",
}
"""What a kind is replaced by, in the order in which kinds are looked for. Brackets that Japanese text uses itself, so
that no tokenizer takes them for a marker; no digits, so that they are never found again."""

KINDS = tuple(PLACEHOLDERS)


def mask(text: str, kinds: Iterable[str]) -> tuple[str, Counter[str]]:
    """A text with personal data replaced, and how much of each kind there was.

    Masking again changes nothing. Time is linear in the length of the text.

    Args:
        text: any text.
        kinds: of ``KINDS``; their order does not matter.
    """
    counts: Counter[str] = Counter()
    wanted = set(kinds)
    may_hold_numbers = _LONG_NUMBER.search(text) is not None
    for kind in KINDS:
        if kind not in wanted or (kind in _OF_LONG_NUMBERS and not may_hold_numbers):
            continue
        spans = _FINDERS[kind](text)
        if spans:
            text = _replaced(text, spans, PLACEHOLDERS[kind])
            counts[kind] = len(spans)
    return text, counts


def _replaced(text: str, spans: Spans, placeholder: str) -> str:
    parts, position = [], 0
    for start, end in spans:
        parts += [text[position:start], placeholder]
        position = end
    return "".join([*parts, text[position:]])


# ---- One-to-one folding: the same text with ASCII digits, letters, hyphens and brackets; positions stay.

_HYPHENS = "-‐‑‒–—―−－ｰー─"
_FOLD = {ord("０") + n: str(n) for n in range(10)}
_FOLD |= {ord(mark): "-" for mark in _HYPHENS}
_FOLD |= {ord("（"): "(", ord("）"): ")", ord("＋"): "+", ord("．"): ".", ord("\u3000"): " ", ord("\u00a0"): " "}
_FOLD |= {code: chr(code - 0xFEE0) for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B), 0xFF20, 0xFF3F)}
_D = "0-9０-９"
_SEP = rf"{_HYPHENS[1:]}.．()（） \u3000\u00a0\-"

_LONG_NUMBER = re.compile(rf"[{_D}](?:[{_SEP}]{{0,3}}[{_D}]){{8,}}")
"""Nine digits and more, apart by at most three separators: the shortest number of interest is +81 with eight more."""
_OF_LONG_NUMBERS = ("card", "my_number", "phone", "hotline")


def _numbers(text: str) -> Iterator[tuple[int, str]]:
    """Every stretch of digits and separators with nine digits and more, and ``+`` or ``(`` before it, folded."""
    for match in _LONG_NUMBER.finditer(text):
        start = match.start()
        while start > max(0, match.start() - 2) and text[start - 1] in "+＋(（":
            start -= 1
        yield start, text[start : match.end()].translate(_FOLD)


def _checked(
    text: str, pattern: re.Pattern[str], accepts: Callable[[re.Match[str], str], int], *, whole: bool = False
) -> Spans:
    """Spans of a number's pattern that pass its check.

    ``accepts`` is given the match and what stands before it, and returns how many characters of it are the number.
    With ``whole``, nothing is looked for inside a match that did not pass. What stands before is folded, at most
    ``_BEFORE`` characters, from the last number masked on: as it would be found if the text were masked again.
    """
    spans: Spans = []
    for offset, stretch in _numbers(text):
        place = 0
        while match := pattern.search(stretch, place):
            start = offset + match.start()
            place = match.end() if whole else match.start() + 1
            before = text[max(0, start - _BEFORE) : start].translate(_FOLD)
            if spans and spans[-1][1] > start - _BEFORE:
                before = PLACEHOLDERS["phone"] + text[spans[-1][1] : start].translate(_FOLD)
            after = text[offset + match.end() : offset + match.end() + 1].translate(_FOLD)
            size = 0 if after.isascii() and (after.isalpha() or after == "_") else accepts(match, before)
            if size:
                spans.append((start, start + size))
                place = match.start() + size
    return spans


_BEFORE = 20
_START = r"(?<![0-9])(?<![0-9][-.])"
_END = r"(?![0-9])(?![-.][0-9])"
"""A number starts and ends where no digit stands, nor a hyphen or point with a digit."""
_IN_A_NAME = re.compile(r"[A-Za-z_]-?\Z")
"""Before a number: it is the rest of a part number, such as ``AB-03-…``."""
_IN_AN_ADDRESS = re.compile(r"[A-Za-z0-9_/=&?#%$@.:-]\Z")
"""Before digits without separators: they are part of a URL, a file name, a sum."""


def _size(match: re.Match[str], accepted: bool) -> int:
    return len(match[0]) if accepted else 0


def _is_alone(match: re.Match[str], before: str) -> bool:
    """Whether a number is no part of a longer name."""
    return not (_IN_A_NAME if not match[0].isdigit() else _IN_AN_ADDRESS).search(before)


# ---- Mail

_LOCAL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-"
_AT = re.compile(r"[@＠]|[ 　]?[\[(（【<＜{][ 　]?(?:at|AT|ａｔ|[@＠]|アット(?:マーク)?)[ 　]?[\])）】>＞}][ 　]?")
_SPELT = ("at)", "at]", "at）", "at】", "at>", "at＞", "AT)", "AT]", "AT）", "ａｔ", "アット")
"""In a text with none of these, ``@`` alone has to be looked for: a fifth of the time."""
_SIGN = re.compile("[@＠]")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")
_TOP = frozenset(
    re.findall(
        "[a-z]+",
        "com net org edu gov mil int info biz name jobs mobi tel travel pro museum coop aero asia cat xxx app dev page "
        "site online shop store tech xyz club work cloud blog email live world life today news media design studio top "
        "agency tokyo osaka nagoya kyoto yokohama okinawa ryukyu example test invalid local",
    )
)
"""Last labels of a domain besides the two-letter ones; others (``png``, ``transpose``) are names in code and files."""
_NOT_PERSONS = frozenset({"git"})
"""Local parts that name a service: ``git@host`` is how repositories are written."""


def _mail(text: str) -> Spans:
    spans: Spans = []
    spelt = any(sign in text for sign in _SPELT)
    if not spelt and "@" not in text and "＠" not in text:
        return spans
    for sign in (_AT if spelt else _SIGN).finditer(text):
        floor = spans[-1][1] if spans else 0
        before = text[max(floor, sign.start() - 64) : sign.start()].translate(_FOLD_MAIL)
        local = before[len(before.rstrip(_LOCAL)) :].lstrip(".%+-")
        start = sign.start() - len(local)
        if not local or local in _NOT_PERSONS or local.endswith(".") or text[max(0, start - 1) : start] == "#":
            continue  # '#': a channel of a chat
        end = _domain_end(text[sign.end() : sign.end() + 260].translate(_FOLD_MAIL))
        if end:
            spans.append((start, sign.end() + end))
    return spans


_FOLD_MAIL = _FOLD | {ord(mark): mark for mark in "―─ー—–"}
"""In an address only marks that are typed for a hyphen count as one; dashes of prose end it."""


def _domain_end(text: str) -> int:
    """Length of the domain at the start of a text; 0 if there is none whose last label is known."""
    match = _DOMAIN.match(text)
    if not match:
        return 0
    labels = match[0].split(".")
    while len(labels) > 1:
        last = labels[-1].lower()
        if last in _TOP or (len(last) == 2 and last.isalpha()):
            return len(".".join(labels))
        labels.pop()
    return 0


# ---- Card numbers

_CARD = re.compile(
    rf"(?<!\+){_START}(?:[0-9]{{14,19}}"
    rf"|[0-9]{{4}}(?P<a>[- ])[0-9]{{4}}(?P=a)[0-9]{{4}}(?P=a)[0-9]{{4}}(?:(?P=a)[0-9]{{3}})?"
    rf"|[0-9]{{4}}(?P<b>[- ])[0-9]{{6}}(?P=b)[0-9]{{4,5}}){_END}"
)
_CARD_PREFIXES: tuple[tuple[int, int, int, tuple[int, ...]], ...] = (
    (1, 4, 4, (16, 19)),
    (2, 51, 55, (16,)),
    (4, 2221, 2720, (16,)),
    (4, 3528, 3589, (16, 17, 18, 19)),
    (2, 34, 34, (15,)),
    (2, 37, 37, (15,)),
    (3, 300, 305, (14,)),
    (2, 36, 36, (14,)),
    (2, 38, 39, (14,)),
    (4, 6011, 6011, (16, 19)),
    (3, 644, 649, (16, 19)),
    (2, 65, 65, (16, 19)),
    (2, 62, 62, (16, 17, 18, 19)),
)
"""(digits of the prefix, lowest, highest, lengths): Visa, Mastercard twice, JCB, American Express twice, Diners three
times, Discover three times, UnionPay (ISO/IEC 7812 ranges as the issuers publish them). Visa's old 13 digits are left
out: a JAN code of Japan (45…, 49…) has 13, and one in ten passes Luhn."""


def _card(match: re.Match[str], before: str) -> int:
    digits = re.sub("[^0-9]", "", match[0])
    known = any(
        len(digits) in lengths and lowest <= int(digits[:size]) <= highest
        for size, lowest, highest, lengths in _CARD_PREFIXES
    )
    return _size(match, known and _is_alone(match, before) and luhn(digits))


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of the others (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 * (value > 9)
    return total % 10 == 0


# ---- Individual Number (マイナンバー)

_MY_NUMBER = re.compile(
    rf"(?<!\+){_START}(?:[0-9]{{12}}"
    rf"|[0-9]{{4}}(?P<a>[- ])[0-9]{{4}}(?P=a)[0-9]{{4}}(?:(?P=a)[1-9][0-9]{{3}})*){_END}"
)
"""Groups of four as far as they go: only three of them are the number, of four the first three are not."""
_PRODUCT = re.compile(r"(?:JAN|EAN|UPC|ISBN|ISSN|型番|品番|商品コード|商品番号|製造番号|注文番号|伝票番号|追跡番号)")
_MOMENT = re.compile(r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])(?:[01][0-9]|2[0-3])[0-5][0-9]")


def _individual(match: re.Match[str], before: str) -> int:
    digits = re.sub("[^0-9]", "", match[0])
    if len(digits) != 12 or not _is_alone(match, before):
        return 0
    if digits == match[0] and (_MOMENT.fullmatch(digits) or _PRODUCT.search(before)):
        return 0
    return _size(match, my_number(digits))


def my_number(digits: str) -> bool:
    """Whether 12 digits are an Individual Number: 11 − (Σ Pₙ·Qₙ mod 11), 0 where that remainder is 0 or 1.

    Pₙ is the n-th of the first eleven digits counted from the right, Qₙ is n + 1 up to n = 6, then n − 5 (Ministry of
    Internal Affairs and Communications, ordinance No. 85 of 2014, article 5). Twelve equal digits are none.
    """
    values = [int(digit) for digit in digits]
    rest = sum(p * (n + 1 if n <= 6 else n - 5) for n, p in enumerate(reversed(values[:-1]), start=1)) % 11
    return values[-1] == (0 if rest <= 1 else 11 - rest) and len(set(digits)) > 1


# ---- Telephone

_J = r"[-. ]"  # what joins the parts of a number
_MOBILE = rf"0[0256789]0(?:{_J}[0-9]{{4}}{_J}[0-9]{{4}}|\([0-9]{{4}}\)[0-9]{{4}}|-[0-9]{{8}})"
_FIXED = (
    rf"0[346](?P<s2>{_J})[0-9]{{4}}(?P=s2)[0-9]{{4}}|0[1-9][0-9](?P<s3>{_J})[0-9]{{3}}(?P=s3)[0-9]{{4}}"
    rf"|0[1-9][0-9]{{2}}(?P<s4>{_J})[0-9]{{2}}(?P=s4)[0-9]{{4}}|0[1-9][0-9]{{3}}(?P<s5>{_J})[0-9](?P=s5)[0-9]{{4}}"
    r"|0[346]\([0-9]{4}\)[ -]?[0-9]{4}|0[1-9][0-9]\([0-9]{3}\)[ -]?[0-9]{4}"
    r"|0[1-9][0-9]{2}\([0-9]{2}\)[ -]?[0-9]{4}|0[1-9][0-9]{3}\([0-9]\)[ -]?[0-9]{4}"
)
_BRACKETED = (
    rf"\(0[346]\)[ -]?[0-9]{{4}}{_J}[0-9]{{4}}|\(0[1-9][0-9]\)[ -]?[0-9]{{3}}{_J}[0-9]{{4}}"
    rf"|\(0[1-9][0-9]{{2}}\)[ -]?[0-9]{{2}}{_J}[0-9]{{4}}|\(0[1-9][0-9]{{3}}\)[ -]?[0-9]{_J}[0-9]{{4}}"
    rf"|\(0[0256789]0\)[ -]?[0-9]{{4}}{_J}[0-9]{{4}}"
)
_ABROAD = (
    rf"\+81\)?(?:{_J}|{_J}?\(0\){_J}?)?(?:[1-9](?:{_J}?[0-9]){{8,9}})"
    rf"|\+[1-9][0-9]{{0,2}}(?:[- ]|[- ]?\([0-9]{{1,4}}\)[- ]?)[0-9]{{1,4}}(?:[- .][0-9]{{2,4}}){{1,4}}"
)
_BARE = "0[56789]0[0-9]{8}|(?P<bare>0[1-9][0-9]{8})"
_PHONE = re.compile(rf"(?:{_START}(?:{_MOBILE}|{_FIXED}|{_BARE})|{_BRACKETED}|{_ABROAD}){_END}")
_HOTLINE = re.compile(
    rf"(?:{_START}(?:0(?:120|570|990)(?P<s>{_J}?)(?:[0-9]{{3}}(?P=s)[0-9]{{3}}|[0-9]{{2}}(?P=s)[0-9]{{4}})"
    rf"|0800(?P<t>{_J}?)[0-9]{{3}}(?P=t)[0-9]{{4}})"
    rf"|\((?:0120|0570|0990)\) ?[0-9]{{2,3}}{_J}[0-9]{{3,4}}|\(0800\) ?[0-9]{{3}}{_J}[0-9]{{4}}"
    rf"|{_START}(?:0120|0570|0990)\([0-9]{{2,3}}\)[0-9]{{3,4}}){_END}"
)
_SERVICE = re.compile(r"\(?0(?:120|570|990|800)(?![0-9])|0(?:120|570|990)[0-9]{6}$|0800[0-9]{7}$")
_LABEL = re.compile(
    r"(?:電話(?:番号)?|携帯(?:番号)?|連絡先|ファックス|ファクス|(?i:tel|fax|phone|mobile)|[℡☎☏📞])"
    r"[)\]]?[ :：は.=・/]{0,3}\Z"
    rf"|{PLACEHOLDERS['phone']}[ 、,/・]{{0,3}}\Z"
)
_OTHER_LABEL = re.compile(
    r"(?:ISBN|ISSN|JAN|EAN|型番|品番|商品コード|商品番号|製造番号|コード|(?i:no)\.?|#)[ :：-]{0,3}\Z"
)


def _phone(match: re.Match[str], before: str) -> int:
    if _SERVICE.match(match[0]) or _OTHER_LABEL.search(before):
        return 0
    if match[0][0] == "+":
        return _abroad(match[0])
    if _LABEL.search(before):
        return len(match[0])
    # Ten digits alone, or apart by spaces or points, may be anything: only the text can say that they are a number.
    loose = match["s3"] or match["s4"] or match["s5"]
    return _size(match, not match["bare"] and loose in (None, "-") and _is_alone(match, before))


def _abroad(number: str) -> int:
    """Length of the whole groups that make 9 to 15 digits: no number has more (ITU-T E.164); 0 if there are fewer."""
    digits, end = 0, 0
    for group in re.finditer("[0-9]+", number):
        digits += len(group[0])
        if 9 <= digits <= 15 and number[group.end() : group.end() + 1] not in ("-", "."):
            end = group.end()
    return end


def _hotline(match: re.Match[str], before: str) -> int:
    if sum(letter.isdigit() for letter in match[0]) not in (10, 11) or _OTHER_LABEL.search(before):
        return 0
    return _size(match, _LABEL.search(before) is not None or _is_alone(match, before))


# ---- Postal code

_H = f"[{_HYPHENS[1:]}-]"
_POSTAL = re.compile(
    rf"(?:(〒[ 　]?[{_D}]{{3}}{_H}?[{_D}]{{4}})|郵便番号[ 　:：は]{{0,3}}([{_D}]{{3}}{_H}?[{_D}]{{4}}))"
    rf"(?![{_D}])(?!(?:{_H}|[.．])[{_D}])"
)
_BEFORE_ADDRESS = re.compile(
    rf"(?<![{_D}A-Za-z])(?<![{_D}A-Za-z](?:{_H}|[.．]))([{_D}]{{3}}{_H}[{_D}]{{4}})\s{{0,3}}\Z"
)


def _postal_code(text: str) -> Spans:
    marked = "〒" in text or "郵便番号" in text
    spans = {match.span(match.lastindex or 0) for match in (_POSTAL.finditer(text) if marked else ())}
    for place in PREFECTURE.finditer(text):
        floor = max(0, place.start() - 13)
        match = _BEFORE_ADDRESS.search(text[floor : place.start()])
        if match and not any(start <= floor + match.start(1) < end for start, end in spans):
            spans.add((floor + match.start(1), floor + match.end(1)))
    return sorted(spans)


# ---- IPv4

_IP = re.compile(
    rf"(?<![0-9０-９A-Za-z.．])(?<![{_D}]{_H})(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?![{_D}A-Za-z])(?!(?:{_H}|[.．])[{_D}])"
)
_VERSION = re.compile(r"(?i:v|ver\.?|version|バージョン|第)[ 　:：]?\Z")


def _ipv4(text: str) -> Spans:
    return [
        match.span()
        for match in _IP.finditer(text)
        if _is_public(match[0]) and not _VERSION.search(text[max(0, match.start() - 10) : match.start()])
    ]


def _is_public(address: str) -> bool:
    """Whether four numbers are the address of one computer in the open net; ``1.2.3.4`` is a section or a version."""
    parts = [int(part) for part in address.split(".")]
    usable = all(part <= 255 for part in parts) and 1 <= parts[0] <= 223 and len(address) >= 10
    private = parts[0] in (10, 127) or parts[:2] in ([192, 168], [169, 254])
    return usable and not private and not (parts[0] == 172 and 16 <= parts[1] <= 31)


_FINDERS: dict[str, Callable[[str], Spans]] = {
    "mail": _mail,
    "card": lambda text: _checked(text, _CARD, _card),
    "my_number": lambda text: _checked(text, _MY_NUMBER, _individual, whole=True),
    "phone": lambda text: _checked(text, _PHONE, _phone),
    "hotline": lambda text: _checked(text, _HOTLINE, _hotline),
    "postal_code": _postal_code,
    "address": address_spans,
    "ipv4": _ipv4,
}

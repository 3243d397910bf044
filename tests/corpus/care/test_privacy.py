"""Personal data is found in the forms people write it in, nothing like it is, and masking twice is masking once."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shikomi.corpus.care.privacy import KINDS, PLACEHOLDERS, luhn, mask, my_number
from shikomi.io import read_jsonl
from shikomi.recipe.privacy import PrivacyPage
from shikomi.recipe.sample import SamplePage
from shikomi.sample.crawl import write_crawl

P = PLACEHOLDERS

FOUND = {
    "mail": [
        ("連絡はtaro.yamada+news@mail.example.co.jpまで", "連絡は{}まで"),
        ("「ｔａｒｏ＠ｅｘａｍｐｌｅ．ｊｐ」", "「{}」"),
        ("taro（at）example.com、hanako [at] example.com", "{}、{}"),
        ("taro＜アットマーク＞example.jp", "{}"),
        ("mailto:taro@example.jp.", "mailto:{}."),
        ("taro@example.comをクリック", "{}をクリック"),
    ],
    "phone": [
        ("電話000-0000-1234まで", "電話{}まで"),
        ("TEL03-0000-5678 FAX：03(0000)5679", "TEL{} FAX：{}"),
        ("Tel.０４５－０００－５６７８（代表）", "Tel.{}（代表）"),
        ("（０３）００００－５６７８", "{}"),
        ("0463‐00‐1234、04992-0-1234", "{}、{}"),
        ("090-0000-1234 / 07000001234 / 050 0000 1234", "{} / {} / {}"),
        ("電話番号は0300001234、0300001235", "電話番号は{}、{}"),
        ("携帯 045 000 1234", "携帯 {}"),
        ("03.0000.5678", "{}"),
        ("+81-3-0000-1234 +81 90 0000 1234 +81(0)3-0000-1234 +819000001234", "{} {} {} {}"),
        ("+1 415 555 0100, +44 20 7946 0958", "{}, {}"),
    ],
    "hotline": [("0120-000-123、0120-00-0123、0570(000)123、0800-000-1234、0120000123", "{}、{}、{}、{}、{}")],
    "postal_code": [
        ("〒000-0000 架空市", "{} 架空市"),
        ("〒０００－００００", "{}"),
        ("郵便番号：0000000", "郵便番号：{}"),
        ("000-0000\n東京都架空区", "{}\n東京都架空区"),
    ],
    "address": [
        ("本社は東京都千代田区架空一丁目２番３号です。", "本社は{}です。"),
        ("東京都千代田区架空1-2-3 架空ビル5階、", "{}、"),
        ("北海道札幌市中央区北1条西2丁目3番地", "{}"),
        ("大阪府大阪市北区架空三丁目1-3", "{}"),
        ("長野県松本市大字架空1234番地の5", "{}"),
        ("神奈川県横浜市西区みなとみらい2-3-1 101号室", "{}"),
        ("東京都港区架空４－２－８。京都府京都市中京区架空通上る12番地", "{}。{}"),
        ("東京都江戸川区架空4丁目3", "{}"),
    ],
    "card": [
        ("4111 1111 1111 1111", "{}"),
        ("5555-5555-5555-4444", "{}"),
        ("番号は３５３０１１１３３３３０００００です", "番号は{}です"),
        ("3782 822463 10005", "{}"),
    ],
    "my_number": [("個人番号は123456789018です", "個人番号は{}です"), ("1234 5678 9018、1234-5678-9018", "{}、{}")],
    "ipv4": [("接続元は203.0.113.77です", "接続元は{}です")],
}
"""By kind: text, and the same with ``{}`` for what is masked. Every number is invented or set aside for examples."""


@pytest.mark.parametrize(("kind", "text", "told"), [(kind, *row) for kind in FOUND for row in FOUND[kind]])
def test_every_form_is_found_alone_and_among_others(kind, text, told):
    masked = told.replace("{}", P[kind])
    assert mask(text, [kind]) == (masked, Counter({kind: told.count("{}")}))
    assert mask(text, KINDS)[0] == masked
    assert mask(f"前文です。\n{text}\n後文です。", KINDS)[0] == f"前文です。\n{masked}\n後文です。"


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-02、2023/01/02 10:30:45、20230102103045、202301021030、令和5年1月2日",
        "価格は1,234,567円、税込2,980円、￥4,111,111,111,111",
        "ISBN 978-4-00-000000-2、ISBN4-00-000000-0、ISBN 0300001234、ISSN 0000-0000",
        "JANコード 4901234567894、4912345678904、JAN 123456789018",
        "型番AB-03-0000-5678、AB0300005678、XYZ_09000001234、03-0000-5678-9",
        "平成三十年法律第百二十三号、第12条の2第1項、JIS Z 8301-2019",
        "注文番号 123456789018、4111111111111112、41111111111111111",
        "https://example.com/a/09000001234?id=0300001234&t=4111111111111111",
        "画像はicon@2x.png、行列の積 a@B.transpose、@user さん、foo@1.2.3",
        "git@example.com:a/b.git、#go@irc.example.org",
        "東京都千代田区に本社を置く。大阪府北部。六本木6丁目の交差点。東京都港区芝公園4丁目の角",
        "埼玉県さいたま市 3-1 で勝った。東京都新宿区では3-4人が、神奈川県横浜市の2-3割が",
        "東京都の市区町村は62、千葉県市川市2-3歳児クラス",
        "法人番号 1234567890123、口座 1234567、郵便 123-4567",
        "110番、119、117、0120、#9110、1-2-3、12.5%、3.1415926535897932",
        "バージョン 10.12.13.14、節 1.2.3.4、192.168.100.200、127.000.000.1、999.999.999.999",
        "111111111111、000000000000、0000 0000 0000 0000",
        "1000000000、10,000,000,000円、+12.345.678、+100000000円",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert mask(text, KINDS) == (text, Counter())


def test_only_the_kinds_asked_for():
    text = "taro@example.jp 090-0000-1234 0120-000-123"
    assert mask(text, []) == (text, Counter())
    assert mask(text, ["phone"]) == (f"taro@example.jp {P['phone']} 0120-000-123", Counter(phone=1))
    assert mask(text, reversed(KINDS)) == mask(text, KINDS)
    assert "hotline" not in PrivacyPage().kinds, "numbers that only organisations have are not personal"
    assert set(PrivacyPage().kinds) <= set(KINDS)


def test_placeholders_are_readable_and_not_found_again():
    for kind, told in P.items():
        assert told[0] + told[-1] == "【】"
        assert mask(told, KINDS) == (told, Counter()), kind


def test_check_digits():
    assert luhn("79927398713")
    assert [digit for digit in "0123456789" if luhn("7992739871" + digit)] == ["3"]
    assert my_number("123456789018")
    for head in ("12345678901", "00000000001", "98765432109", "20000000004"):
        assert sum(my_number(head + digit) for digit in "0123456789") == 1
    assert my_number("000000000060")  # remainder 1 gives 0: Q of the second digit from the right is 3 … 5 × 2 + …
    assert not my_number("111111111111")


def test_the_samples_gold(tmp_path):
    """Everything the sample plants is found, and nothing on its other pages."""
    write_crawl(SamplePage(seed=3, companies=40, eval_companies=16, articles_per_company=8), tmp_path)
    gold = [row for _, row in read_jsonl(tmp_path / "labels.jsonl")]
    planted = [row for row in gold if row["reason"] == "personal_data"]
    others = [row for row in gold if row["reason"] != "personal_data" and row["text"]]
    assert len(planted) > 3
    for row in planted:
        masked, counts = mask(row["text"], PrivacyPage().kinds)
        assert counts["mail"] == counts["phone"] == 1
        assert "example.jp" not in masked
        assert "000-0000" not in masked
    assert [row["url"] for row in others if mask(row["text"], PrivacyPage().kinds)[1]] == []


PIECES = st.sampled_from(
    [text for kind in FOUND for text, _ in FOUND[kind]]
    + ["090-0000-1234", "0300001234", "0120-000-123", "+81", "123456789018", "1234 5678 9018", "4111111111111111"]
    + [
        "taro@example.jp",
        "@",
        "(at)",
        "example.jp",
        "〒",
        "000-0000",
        "東京都",
        "港区",
        "架空1-2-3",
        "一丁目2番",
        "地",
        "号",
    ]
    + ["電話", "TEL", "JAN", "ISBN ", "203.0.113.77", "0", "12", "345", "6789", "１２３", *P.values()]
)
JOINTS = st.sampled_from(["", " ", "-", ".", "、", "/", "(", ")", "+", "　", "：", "\n", "ー", "は", "の", "a", "_"])


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(PIECES, JOINTS), max_size=8).map(lambda rows: "".join(map("".join, rows))))
@example("1234 5678 9018 0120 000 123")
@example("1234 5678 9018、1234-5678-9018 1234 5678 9018、1234-5678-9018")
@example("090-0000-1234 1234 5678 9018")
@example("〒０００－００００-03.0000.5678")
@example("203.0.113.77-03-0000-5678")
@example("03-0000-1234+81-3-0000-1234")
@example("電話：090-0000-1234、0300001234、0300001235")
def test_masking_twice_is_masking_once(text):
    masked, counts = mask(text, KINDS)
    assert mask(masked, KINDS) == (masked, Counter())
    assert all(masked.count(P[kind]) >= text.count(P[kind]) for kind in KINDS)
    assert (masked == text) == (not counts)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(categories=("L", "N", "P", "Zs", "Sm", "Cs"), max_codepoint=0xFFFF), max_size=60))
def test_any_text_is_taken(text):
    masked, counts = mask(text, KINDS)
    assert mask(masked, KINDS) == (masked, Counter())
    assert (masked == text) == (not counts)


SURROUNDINGS = st.text("あいう漢字、。\n", max_size=20)


@settings(max_examples=100, deadline=None)
@given(SURROUNDINGS, SURROUNDINGS, st.sampled_from(sorted(FOUND)))
def test_what_is_around_stays(before, after, kind):
    text, told = FOUND[kind][0]
    assert (
        mask(before + "。" + text + "。" + after, [kind])[0]
        == before + "。" + told.replace("{}", P[kind]) + "。" + after
    )


@pytest.mark.parametrize(
    "pattern", ["1", "0-", "0 ", "a@a.", "(0", "090-0000-0000-", "4111 ", "東京都港区1", "〒123-456", "+81", "１．"]
)
def test_time_is_linear_in_hostile_text(pattern):
    """A megabyte of digits takes a second; were a step quadratic, it would take hours, and the limit is generous."""
    size = 1_000_000 if pattern == "1" else 100_000
    begun = time.process_time()
    mask((pattern * (size // len(pattern) + 1))[:size], KINDS)
    assert time.process_time() - begun < 30

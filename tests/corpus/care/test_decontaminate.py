"""Planted items are found in whatever form, near misses are not, and the result is a document's own."""

from __future__ import annotations

import json
import pickle
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.corpus.care import decontaminate
from shikomi.corpus.care.contamination import Compared, Hashed, code_points, comparable
from shikomi.corpus.care.decontaminate import PROMPTS, REASON, Contamination, report, rows
from shikomi.data.eval_only import text_digest
from shikomi.errors import ShikomiError
from shikomi.io import write_jsonl
from shikomi.recipe.decontaminate import DecontaminatePage, EvaluationSet
from tests.corpus.pages import japanese_text

QUESTION = (
    "架空鉄道の本社が置かれている、川沿いの市の名前を「漢字」で答えてください。ただし2020年の合併より前のものとします。"
)
MIDDLING = "架空鉄道が開業した年に生まれた社長は誰ですか？"
SHORT = "架空市の市役所はどこ？"
PASSAGE = japanese_text(77, sentences=6)
ITEMS = [
    {"question": QUESTION, "answer": "川端市", "choices": ["川端市", "山口町", "海辺村"], "passage": PASSAGE},
    {"question": MIDDLING, "answer": "架空太郎", "choices": ["はい", "いいえ"], "passage": PASSAGE},
    {"question": SHORT, "answer": "駅の東口にある広場", "choices": [], "passage": ""},
]
TEXT = japanese_text(1)


def make(tmp_path, items=ITEMS, **fields):
    write_jsonl(tmp_path / "set.jsonl", items)
    evaluation = EvaluationSet(
        name="架空QA", path="set.jsonl", fields=["question", "answer", "choices"], passages=["passage"]
    )
    return Contamination([[tmp_path / "set.jsonl"]], DecontaminatePage(sets=[evaluation], **fields))


@pytest.fixture
def index(tmp_path):
    return make(tmp_path)


def planted(text: str) -> str:
    lines = TEXT.split("\n")
    return "\n".join([*lines[:3], text, *lines[3:]])


def full_width(text: str) -> str:
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


def leaks(index: Contamination, text: str) -> set[tuple[str, int]]:
    return {(hit.field, hit.item) for hit in index.hits(text) if hit.leak}


FORMS = {
    "as it is": QUESTION,
    "no punctuation": comparable(QUESTION),
    "other punctuation": QUESTION.replace("、", "，").replace("「", "『").replace("」", "』").replace("。", "．"),
    "full width": full_width(QUESTION),
    "spaces": " ".join(QUESTION),
    "lines": "\n".join(QUESTION[start : start + 7] for start in range(0, len(QUESTION), 7)),
    "ideographic spaces": QUESTION.replace("、", "、\u3000\u3000"),
    "around it": f"問題：{QUESTION}（答えは次の頁）",
    "half-width marks": QUESTION.replace("、", "､").replace("。", "｡").replace("「", "｢").replace("」", "｣"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_long_field_is_found_in_every_form(index, form):
    found = [hit for hit in index.hits(planted(FORMS[form])) if hit.leak]
    assert [(hit.field, hit.item, hit.tier, hit.coverage) for hit in found] == [("question", 1, "equal", 1.0)]
    assert found[0].matched == found[0].characters == len(comparable(QUESTION))
    before, after = found[0].around.split("…")
    assert len(before) == len(after) == 30
    treated = index.treat(planted(FORMS[form]))
    assert treated.reason == REASON
    assert treated.detail == f"架空QA question item 1: equal, {found[0].matched} characters"


def test_small_changes_are_told_by_tier(index):
    middle = len(QUESTION) // 2
    changed = QUESTION[:middle] + "某" + QUESTION[middle:]
    assert [hit.tier for hit in index.hits(planted(changed))] == ["most"]
    partly = QUESTION[: int(len(QUESTION) * 0.8)]
    hits = index.hits(planted(partly))
    assert [(hit.tier, hit.leak) for hit in hits] == [("part", False)]
    assert 0.7 <= hits[0].coverage < 0.9
    assert leaks(index, planted(MIDDLING)) == {("question", 2)}, "a field of 20 characters is found by short n-grams"


@pytest.mark.parametrize(
    "text",
    [
        QUESTION[: len(QUESTION) // 2],
        "".join(reversed(QUESTION)),
        "\n".join(TEXT.split("\n")[place] + QUESTION[place * 12 : place * 12 + 11] for place in range(5)),
        MIDDLING[:12],
        "架空鉄道の社長は誰ですか。",
        PASSAGE.split("\n")[0],
    ],
)
def test_near_misses_are_no_leaks(index, text):
    assert leaks(index, planted(text)) == set()
    assert index.treat(planted(text)).reason == ""


def test_a_short_field_needs_another_of_its_item(index):
    alone = index.hits(planted(SHORT))
    assert [(hit.tier, hit.leak, hit.item) for hit in alone] == [("one field", False, 3)]
    assert leaks(index, planted(f"{SHORT}\n駅の東口にある広場")) == {("question", 3), ("answer", 3)}
    assert leaks(index, planted(f"問：{SHORT} 答：駅の東口にある広場。")) == set(), "no border between them"
    assert leaks(index, planted(f"「{SHORT}」「駅の東口にある広場」")) == {("question", 3), ("answer", 3)}
    assert leaks(index, planted(f"{SHORT}\n架空太郎")) == set(), "the answer of another item"
    assert leaks(index, planted("川端市\n川端市")) == set(), "answer and choice that are the same text are one"
    assert leaks(index, planted(f"その{SHORT}と聞く\n駅の東口にある広場")) == set(), "equality only"


def test_a_passage_alone_is_no_leak(index):
    hits = index.hits(planted(PASSAGE))
    assert [(hit.field, hit.tier, hit.items, hit.leak) for hit in hits] == [("passage", "one field", 2, False)]
    assert leaks(index, planted(f"{PASSAGE}\n{QUESTION}")) == {("question", 1), ("passage", 1)}


def test_matches_of_several_documents_are_never_pooled(index):
    half = len(QUESTION) // 2
    assert not any(leaks(index, planted(text)) for text in (QUESTION[:half], QUESTION[half:]))
    assert leaks(index, planted(QUESTION[:half] + QUESTION[half:]))


def test_scraps_all_over_a_table_are_no_leak(tmp_path):
    numbers = "8センチメートル、16センチメートル、24センチメートル、32センチメートル"
    items = [{"question": "どれ", "answer": "x", "choices": numbers, "passage": "なし"}]
    plain = comparable(numbers)
    table = "\n".join(f"表の{plain[start : start + 12]}行" for start in range(0, len(plain) - 7, 4))
    assert leaks(make(tmp_path, items, leak_run=0.0), planted(table)) == {("choices", 1)}
    assert leaks(make(tmp_path, items), planted(table)) == set()
    assert leaks(make(tmp_path, items), planted(numbers)) == {("choices", 1)}


def test_what_is_cut_and_what_is_dropped(tmp_path):
    cutting = make(tmp_path, action="cut")
    treated = cutting.treat(planted(QUESTION))
    assert treated.text == TEXT
    assert treated.reason == ""
    assert treated.cut_characters == len(QUESTION) + 1
    assert cutting.treat(planted(f"{SHORT}\n駅の東口にある広場")).text == TEXT
    assert cutting.treat(planted(f"{PASSAGE}\n{QUESTION}")).text == TEXT
    assert cutting.treat(QUESTION).reason == REASON, "nothing would be left"
    scattered = "\n".join(QUESTION[start : start + 6] + "。" for start in range(0, len(QUESTION), 6))
    assert not leaks(cutting, cutting.treat(planted(scattered)).text)
    clean = cutting.treat(TEXT)
    assert (clean.text, clean.hits, clean.reason) == (TEXT, [], "")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.sampled_from(sorted(FORMS)), st.integers(0, 10_000))
def test_found_wherever_it_stands(tmp_path_factory, place, form, seed):
    index = _shared(tmp_path_factory)
    text = japanese_text(seed, sentences=12)
    place = min(place, len(text))
    assert leaks(index, text[:place] + FORMS[form] + text[place:]) == {("question", 1)}
    assert leaks(index, text) == set()


def _shared(factory, made=[]):  # noqa: B006 - made once for all examples
    if not made:
        made.append(make(factory.mktemp("index")))
    return made[0]


def test_independent_of_order_and_sharding(index):
    documents = {f"{number:04d}": japanese_text(number, sentences=9) for number in range(12)}
    documents |= {"a": planted(QUESTION), "b": planted(SHORT), "c": planted(f"{PASSAGE}\n{QUESTION}"), "d": MIDDLING}
    whole = [row for name in documents for row in rows(name, index.treat(documents[name]))]
    names = list(documents)
    random.Random(5).shuffle(names)
    other = pickle.loads(pickle.dumps(index))
    shards = [
        [row for name in names[start::3] for row in rows(name, other.treat(documents[name]))] for start in (2, 0, 1)
    ]
    told = report(index, whole)
    assert json.dumps(report(other, [row for shard in shards for row in shard])) == json.dumps(told)
    assert told["sets"]["架空QA"] | {"by_tier": None} == {
        "items": 3, "fields": 12, "by_tier": None, "leaks": 4, "leaked_items": 2, "documents": 4,
        "one_field": {"question": 1},
    }  # fmt: skip
    assert told["documents"] == {"dropped": 3, "none": 1}
    assert told["num_hits"] == len(told["hits"]) == 4
    assert all(len(str(value)) <= 61 for row in told["hits"] for value in row.values()), "no long text"
    assert {"set", "field", "item", "document", "matched", "done"} <= set(told["hits"][0])


def test_a_kept_index_travels_as_its_path_and_finds_the_same(index, tmp_path):
    texts = [TEXT, *map(planted, FORMS.values()), planted(SHORT), planted("川端市")]
    index.keep(tmp_path / "index")
    sent = pickle.dumps(index)
    assert len(sent) < 2000
    again = pickle.loads(sent)
    assert [again.hits(text) for text in texts] == [index.hits(text) for text in texts]
    assert again.counts == index.counts


def test_known_prompts_are_found_by_their_digests(monkeypatch, tmp_path):
    known = {text_digest(QUESTION): "架空ベンチ", text_digest("短いです、はい。"): "架空ベンチ"}
    monkeypatch.setattr(decontaminate, "table", lambda: {"prompts": known})
    index = Contamination([], DecontaminatePage())
    found = index.hits(planted(full_width(QUESTION)))
    assert [(hit.set, hit.field, hit.tier, hit.leak) for hit in found] == [(PROMPTS, "架空ベンチ", "equal", True)]
    assert [hit.leak for hit in index.hits(planted("短いです、はい。"))] == [False]
    assert Contamination([], DecontaminatePage(action="cut")).treat(planted(QUESTION)).text == TEXT
    assert Contamination([], DecontaminatePage(known_prompts=False)).hits(planted(QUESTION)) == []
    assert report(index, rows("x", index.treat(planted(QUESTION))))["sets"][PROMPTS]["leaks"] == 1


def test_real_known_prompts(real_data):
    prompt = json.loads((real_data / "instruct" / "rakuda_v1_questions.jsonl").read_text("utf-8").split("\n")[0])[
        "text"
    ]
    found = [hit for hit in Contamination([], DecontaminatePage()).hits(planted(prompt)) if hit.leak]
    assert [hit.field for hit in found] == ["instruct/rakuda_v1_questions.jsonl"]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.integers(1, 13))
def test_hashes_are_of_the_characters_alone(text, n):
    plain = comparable(text)
    found = Hashed(code_points(plain)).ngrams(n).tolist()
    again = [Hashed(code_points(plain[start : start + n])).ngrams(n)[0] for start in range(len(plain) - n + 1)]
    assert found == again
    assert len(set(found)) == len({plain[start : start + n] for start in range(len(plain) - n + 1)})


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_parts_are_pieces_of_what_is_compared(text):
    compared = Compared(text)
    assert comparable(compared.plain) == compared.plain
    assert all(part in compared.plain and part for part in compared.short_parts(20))


def test_time_is_linear_where_little_is_found(index):
    begun = time.process_time()
    assert index.hits("架空鉄道の本社が置かれて、" * 40_000) == []
    assert time.process_time() - begun < 20


READ = {
    "list.json": ('[{"question": "問い一", "answer": 12}, {"question": "問い二", "answer": null}]', {}),
    "lines.json": ('{"question": "問い一", "answer": 12}\n{"question": "問い二"}\n', {}),
    "one.json": ('{"question": ["問い一", "問い二"], "answer": 12}', {"joined": True}),
    "deep.json": ('{"data": {"qas": [{"question": "問い一", "answer": {"text": ["12"]}}, {"question": "問い二"}]}}',
                  {"items": "data.qas", "fields": ["question", "answer.text"]}),
    "table.tsv": ("question\tanswer\n問い一\t12\n\n問い\"二\t\n", {}),
    "bare.csv": ('問い一,12\n"問い,二",\n', {"header": False, "fields": ["1", "2"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_forms_of_evaluation_sets(tmp_path, name):
    text, told = READ[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    fields = {key: value for key, value in told.items() if key != "joined"}
    evaluation = EvaluationSet(**{"name": "s", "path": name, "fields": ["question", "answer"], **fields})
    index = Contamination([[path]], DecontaminatePage(sets=[evaluation]))
    assert index.counts == {"s": {"items": 1 if told.get("joined") else 2, "fields": 3}}
    assert {hit.matched for hit in index.hits("問い一\n12")} == {3, 2}


def test_names_joined_are_one_field(tmp_path):
    path = tmp_path / "set.jsonl"
    write_jsonl(path, [{"a": "一番目の選択肢です", "b": "二番目の選択肢です", "c": "三番目の選択肢です"}])
    evaluation = EvaluationSet(name="s", path="x", fields=["a+b+c"])
    index = Contamination([[path]], DecontaminatePage(sets=[evaluation]))
    assert index.counts["s"]["fields"] == 1
    assert leaks(index, "一番目の選択肢です\n二番目の選択肢です\n三番目の選択肢です") == {("a+b+c", 1)}


@pytest.mark.parametrize(
    ("name", "text", "fields"),
    [
        ("set.jsonl", '{"question": "問い"}\n', ["questoin"]),
        ("set.jsonl", "[1]\n", ["question"]),
        ("set.jsonl", "\n", ["question"]),
        ("set.json", '{"data": [{"question": "問い"}]}', ["question"]),
        ("set.json", "{", ["question"]),
        ("set.txt", "問い", ["question"]),
        ("set.tsv", "\xff", ["1"]),
    ],
)
def test_a_set_that_cannot_be_read_is_told_in_three_lines(tmp_path, name, text, fields):
    path = tmp_path / name
    path.write_text(text, encoding="latin-1" if "\xff" in text else "utf-8")
    with pytest.raises(ShikomiError) as told:
        Contamination([[path]], DecontaminatePage(sets=[EvaluationSet(name="s", path=name, fields=fields)]))
    assert str(path) in told.value.where
    assert told.value.hint
    if fields == ["questoin"]:
        assert told.value.hint == 'did you mean "question"?'

"""Learned selection: what a scorer learns, that it is fair to hosts, calibrated, the same again, and safe to open."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from pydantic import TypeAdapter, ValidationError

from shikomi.corpus.quality.domain import Scorer, learn_scorer, learn_scorers, look_domain
from shikomi.errors import DataError
from shikomi.io import read_json, write_json
from shikomi.recipe.domain import ScorerPage, Scorers

_TRADE = ["売上", "顧客", "決算", "株主", "受注", "在庫", "営業", "契約", "請求", "取引"]
_NATURE = ["森林", "渓流", "野鳥", "高原", "星空", "紅葉", "山頂", "湖畔", "花畑", "砂浜"]
_SHARED = ["今日", "昨年", "地域", "説明", "必要", "結果", "場合", "方法", "時間", "内容"]


def text_of(words: list[str], rnd: random.Random, own: int = 3) -> str:
    """Four sentences, each with some of a kind's words among words that both kinds have."""
    return "".join(
        "".join(f"{word}は" for word in [*rnd.sample(words, own), *rnd.sample(_SHARED, 5)]) + "です。" for _ in range(4)
    )


def write_examples(path: Path, words: list[str], count: int, hosts: int, seed: int, own: int = 3) -> Path:
    rnd = random.Random(seed)
    rows = [
        {"text": text_of(words, rnd, own), "url": f"https://{words[0]}{number % hosts}.example/{number}"}
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def write_pages(folder: Path, words: list[list[str]], count: int, seed: int = 9) -> Path:
    """A corpus folder whose hosts are ``kind0.example``, ``kind1.example`` …, by which list their words are from."""
    rnd = random.Random(seed)
    rows = []
    for number in range(count):
        kind = number % len(words)
        host = f"site{number % 7}.kind{kind}.example"
        rows.append(
            {"id": f"{number:016x}", "url": f"https://{host}/{number}", "host": host, "verdict": "kept",
             "text": text_of(words[kind], rnd)}
        )  # fmt: skip
    rows.append({**rows[0], "id": "f" * 16, "verdict": "dropped", "text": ""})
    (folder / "shards").mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), folder / "shards" / "part-00000.parquet")
    return folder


def small(**fields) -> ScorerPage:
    return ScorerPage(**{"positives": ["given"], "bits": 14, "epochs": 3, "folds": 3, **fields})


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Path:
    """A scorer of trade against nature, every host of either kind once unseen."""
    folder = tmp_path_factory.mktemp("learned")
    wanted = write_examples(folder / "trade.jsonl", _TRADE, 90, hosts=9, seed=1)
    others = write_examples(folder / "nature.jsonl", _NATURE, 90, hosts=9, seed=2)
    learn_scorer(small(), [wanted], [others], None, folder / "scorers" / "business")
    return folder / "scorers"


def test_it_tells_the_kinds_apart_on_hosts_it_has_not_seen(learned):
    told = read_json(learned / "business" / "scorer.json")
    assert told["held_out"]["by"] == "host"
    assert told["held_out"]["groups"] == 18
    assert told["held_out"]["low"] <= told["held_out"]["auc"] <= told["held_out"]["high"]
    assert told["held_out"]["auc"] > 0.95
    scorer = Scorer(learned / "business")
    assert scorer.score("決算は売上と受注が増え、顧客と契約した。") > 0.8
    assert scorer.score("渓流と野鳥、湖畔の紅葉と星空。") < 0.2
    assert 0.0 <= scorer.score("") <= 1.0


def test_width_case_digits_and_space_do_not_count(learned):
    scorer = Scorer(learned / "business")
    assert scorer.score("売上 ＡＢＣ１２３\n決算") == scorer.score("売上\u3000abc987 \t決算")


def test_any_text_has_a_score(learned):
    scorer = Scorer(learned / "business")
    for text in ("", " ", "売", "\ud800", "𠮷野家の売上😀" * 9, "\x00\uffff", "\n" * 5000):
        assert 0.0 <= scorer.score(text) <= 1.0


def test_only_the_start_of_a_long_text_is_read(learned):
    scorer = Scorer(learned / "business")
    start = "契約と請求。" * 400
    assert scorer.score(start) == scorer.score(start + "渓流と野鳥。" * 4000)


def test_what_it_learned_can_be_read(learned):
    (told,) = look_domain(learned)["scorers"]
    shown = {kind: "".join(row["ngram"] for row in rows) for kind, rows in told["ngrams"].items()}
    assert sum(word in shown["positive"] for word in _TRADE) >= 7
    assert sum(word in shown["negative"] for word in _NATURE) >= 7
    assert not any(word in shown["positive"] for word in _NATURE)
    assert told["training"]["positives"]["documents"] == 90
    assert [file["name"] for file in told["training"]["negatives"]["files"]] == ["nature.jsonl"]
    assert sum(told["histogram"]["positives"]) == 90
    assert told["margin"] == []


def test_the_same_examples_in_another_order_give_the_same_bytes(tmp_path, learned):
    lines = (learned.parent / "trade.jsonl").read_text().splitlines()
    random.Random(3).shuffle(lines)
    half, rest = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    half.write_text("\n".join(lines[:40]))
    rest.write_text("\n".join(lines[40:] + lines[:5]))
    learn_scorer(small(), [rest, half], [learned.parent / "nature.jsonl"], None, tmp_path / "again")
    for name in ("weights.safetensors", "margin.json"):
        assert (tmp_path / "again" / name).read_bytes() == (learned / "business" / name).read_bytes()


def test_it_travels_to_workers(learned):
    scorer = Scorer(learned / "business")
    packed = pickle.dumps(scorer)
    assert len(packed) < 1_000, "workers open the folder, weights are not sent"
    assert pickle.loads(packed).score("売上") == scorer.score("売上")


def test_scores_mean_what_they_say(tmp_path):
    """Kinds that overlap by half: of documents with a score near s, about s are wanted."""
    mixed = [*_TRADE[:5], *_NATURE[:5]]
    wanted = write_examples(tmp_path / "w.jsonl", mixed, 150, hosts=30, seed=4, own=2)
    others = write_examples(tmp_path / "o.jsonl", [*mixed, *_NATURE[5:]], 150, hosts=30, seed=5, own=2)
    facts = learn_scorer(small(folds=5), [wanted], [others], None, tmp_path / "out")
    assert 0.6 < facts["auc"] < 0.99
    assert facts["calibration_error"] < 0.12


def test_labels_without_meaning_give_no_confidence(tmp_path):
    wanted = write_examples(tmp_path / "w.jsonl", _SHARED, 80, hosts=16, seed=6)
    others = write_examples(tmp_path / "o.jsonl", _SHARED, 80, hosts=16, seed=7)
    facts = learn_scorer(small(), [wanted], [others], None, tmp_path / "out")
    assert 0.3 < facts["auc"] < 0.7
    scores = [Scorer(tmp_path / "out").score(text_of(_SHARED, random.Random(seed))) for seed in range(20)]
    assert all(0.2 < score < 0.8 for score in scores)


def test_a_host_that_gives_its_label_away_does_not_help(tmp_path):
    """Each host names itself in each document: dealt by document that would look like skill, by host it does not."""
    rnd = random.Random(8)
    paths = []
    for kind in ("w", "o"):
        rows = []
        for number in range(90):
            name = f"{kind}{'阿伊宇江於加幾久'[number % 8]}社" * 3
            rows.append({"text": name + text_of(_SHARED, rnd), "host": f"{kind}{number % 8}.example"})
        paths.append(tmp_path / f"{kind}.jsonl")
        paths[-1].write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    by_host = learn_scorer(small(folds=4), [paths[0]], [paths[1]], None, tmp_path / "host")
    for path in paths:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps({"text": row["text"]}, ensure_ascii=False) + "\n" for row in rows))
    by_document = learn_scorer(small(folds=4), [paths[0]], [paths[1]], None, tmp_path / "document")
    assert by_document["held_out_by"] == "document"
    assert by_host["held_out_by"] == "host"
    assert by_document["auc"] > by_host["auc"] + 0.1


def test_hosts_of_the_corpus_as_positives_and_a_draw_of_it_as_the_rest(tmp_path):
    pages = write_pages(tmp_path / "pages", [_TRADE, _NATURE, _SHARED], 210)
    page = small(positives=[], positive_hosts=["kind0.example"], keep_share=0.25, max_per_host=25)
    facts = learn_scorers([page], lambda patterns: [], pages, tmp_path / "out")["business"]
    assert facts["positives"] == 70
    assert facts["negatives"] == 140
    assert facts["auc"] > 0.95
    assert facts["corpus_kept"] == pytest.approx(0.25, abs=0.02)
    (told,) = look_domain(tmp_path / "out")["scorers"]
    assert sum(told["histogram"]["corpus"]) == 210
    margin = told["margin"]
    assert [row["score"] for row in margin] == sorted((row["score"] for row in margin), reverse=True)
    assert {row["kept"] for row in margin} == {True, False}
    assert all(row["url"].startswith("https://") and row["excerpt"] for row in margin)


def test_one_site_does_not_stand_for_its_kind(tmp_path):
    pages = write_pages(tmp_path / "pages", [_TRADE, _NATURE], 140)
    page = small(positives=[], positive_hosts=["kind0.example"], max_per_host=3)
    facts = learn_scorer(page, [], [], pages, tmp_path / "out")
    assert (facts["positives"], facts["negatives"]) == (21, 21)


def test_text_files_are_documents_and_what_is_wanted_is_no_negative(tmp_path, learned):
    rnd = random.Random(10)
    texts = []
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text(text_of(_TRADE, rnd))
        texts.append(tmp_path / f"{number}.txt")
    facts = learn_scorer(small(), texts, [*texts, learned.parent / "nature.jsonl"], None, tmp_path / "out")
    assert (facts["positives"], facts["negatives"]) == (12, 90)
    assert facts["held_out_by"] == "document"


def test_decisions(learned, tmp_path):
    scorer = Scorer(learned / "business")
    assert scorer.why_dropped(0.5) is None
    assert scorer.why_dropped(0.4999) == ("score_business", "score_business 0.500 < 0.500")
    told = read_json(learned / "business" / "scorer.json")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "weights.safetensors").write_bytes((learned / "business" / "weights.safetensors").read_bytes())
    write_json(tmp_path / "only" / "scorer.json", {**told, "decides": False})
    assert Scorer(tmp_path / "only").why_dropped(0.0) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"body": "本文"}\n', 'no text in field "text" (found: body)'),
        ('["本文"]\n', "found: no object"),
        ('{"text": "  "}\n', "no text in field"),
        ("本文\n", "not JSON"),
    ],
)
def test_a_line_that_shows_nothing_is_told_with_its_number(tmp_path, content, message):
    path = tmp_path / "wanted.jsonl"
    path.write_text('{"text": "良い"}\n' + content)
    with pytest.raises(DataError) as caught:
        learn_scorer(small(), [path], [], None, tmp_path / "out")
    assert message in caught.value.what
    assert caught.value.where.endswith("wanted.jsonl:2")
    assert caught.value.hint


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b" \n"])
def test_a_text_file_that_is_none_is_told(tmp_path, content):
    path = tmp_path / "wanted.txt"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        learn_scorer(small(), [path], [], None, tmp_path / "out")
    assert caught.value.where == str(path)
    assert caught.value.hint


def test_too_few_examples_and_no_sample_are_told(tmp_path, learned):
    few = write_examples(tmp_path / "few.jsonl", _TRADE, 9, hosts=3, seed=1)
    nature, trade = learned.parent / "nature.jsonl", learned.parent / "trade.jsonl"
    with pytest.raises(DataError, match="only 9 different wanted"):
        learn_scorer(small(), [few], [nature], None, tmp_path / "out")
    with pytest.raises(DataError, match="only 0 different other"):
        learn_scorer(small(), [trade], [], None, tmp_path / "out")
    with pytest.raises(DataError, match="keep_share needs a sample"):
        learn_scorer(small(keep_share=0.1), [trade], [nature], None, tmp_path / "out")
    with pytest.raises(DataError, match="no scorer here"):
        look_domain(tmp_path)


def test_damaged_scorers_are_not_opened(learned, tmp_path):
    told = read_json(learned / "business" / "scorer.json")
    from safetensors.numpy import save

    def broken(name: str, manifest: dict, weights: bytes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_json(folder / "scorer.json", manifest)
        (folder / "weights.safetensors").write_bytes(weights)
        return folder

    good = (learned / "business" / "weights.safetensors").read_bytes()
    for name, manifest, weights in (
        ("version", {**told, "version": 99}, good),
        ("cut", told, good[:100]),
        ("size", {**told, "features": {**told["features"], "bits": 15}}, good),
        ("nan", told, save({"weights": np.full(1 << 14, np.nan, dtype=np.float32)})),
    ):
        with pytest.raises(DataError) as caught:
            Scorer(broken(name, manifest, weights))
        assert caught.value.hint


@pytest.mark.parametrize(
    "fields", [{"name": "業務"}, {"name": "../x"}, {"positives": []}, {"threshold": 1.5}, {"keep_share": 0.0}]
)
def test_pages_that_mean_nothing_are_refused(fields):
    with pytest.raises(ValidationError):
        ScorerPage(**{"positives": ["x"], **fields})


def test_scorers_are_told_apart_by_name():
    scorers = TypeAdapter(Scorers)
    assert len(scorers.validate_python([small(), small(name="educational")])) == 2
    with pytest.raises(ValidationError, match="two scorers are called business"):
        scorers.validate_python([small(), small()])


@pytest.mark.real
def test_real_sentences_about_companies_are_told_from_others(tmp_path, real_data):
    """A taste of ``bench/domain.py``: 400 sentences of each kind, by article."""
    rows = json.loads((real_data / "corpus" / "ner-wikipedia" / "ner.json").read_text(encoding="utf-8"))[:1600]
    paths = {kind: tmp_path / f"{kind}.jsonl" for kind in (True, False)}
    for kind, path in paths.items():
        shown = [row for row in rows if any(one["type"] == "法人名" for one in row["entities"]) == kind][:400]
        lines = (json.dumps({"text": row["text"], "host": row["curid"]}, ensure_ascii=False) for row in shown)
        path.write_text("\n".join(lines), encoding="utf-8")
    facts = learn_scorer(small(bits=16), [paths[True]], [paths[False]], None, tmp_path / "out")
    assert facts["held_out_by"] == "host"
    assert facts["auc"] > 0.8, "a list of business words gives 0.70"
    assert facts["calibration_error"] < 0.1

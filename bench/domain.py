"""Does learned selection work on sites it has not seen? AUC on held-out hosts beside a list of keywords, on real data.

    python bench/domain.py --data ../shared/data [--pages FOLDER] [--json]

Three questions, each asked of documents whose host (prefecture, author, article) no model saw:

- *business*: hotel desk dialogues (by prefecture) and sentences about companies (by article), against web pages (by
  host), literary works (by author) and sentences without any organisation (by article);
- *companies*: only the sentences, which are alike in style: those that name a company against those that name no
  organisation at all. The names' labels are a reader's, not ours;
- *software*: pages of thirteen hosts about programming against statutes, accessibility notes, literature, dialogues and
  sentences;
- *explains*, in the manner of an educational score: books, courses and articles about programming against reference
  manuals and statutes, by host.

The baseline counts words of a list (below, written before the scorer was tried on the question) by 1,000 characters.
Intervals come from drawing whole hosts again; ``gain`` is the scorer's AUC less the baseline's on the same draws. The
last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from shikomi.corpus.pages import read_pages
from shikomi.corpus.quality.domain import Scorer, held_out, learn_scorer
from shikomi.corpus.quality.examples import Draw, Example, corpus_examples, is_under
from shikomi.corpus.quality.logistic import area, area_interval, calibrate, drawn_areas, probability
from shikomi.corpus.quality.scorecard import reliability
from shikomi.recipe.corpus import CorpusPage
from shikomi.recipe.domain import ScorerPage

BUSINESS_WORDS = [
    "株式会社", "会社", "企業", "事業", "経営", "社長", "取締役", "本社", "支店",
    "売上", "利益", "営業", "販売", "顧客", "お客様", "商品", "製品", "サービス",
    "契約", "取引", "市場", "投資", "株主", "融資", "銀行", "予算", "料金", "価格",
    "予約", "注文", "請求", "見積", "採用", "社員", "業務", "ご利用", "ございます",
    "合併", "買収", "設立",
]  # fmt: skip
SOFTWARE_WORDS = [
    "プログラム", "プログラミング", "コード", "関数", "変数", "クラス", "メソッド",
    "オブジェクト", "引数", "型", "ライブラリ", "モジュール", "コンパイル", "ソフトウェア",
    "アプリケーション", "サーバ", "ファイル", "ディレクトリ", "コマンド", "設定", "実行",
    "インストール", "バージョン", "データベース", "テスト", "開発", "エラー", "処理系",
    "実装", "デバッグ", "リファクタリング",
]  # fmt: skip
EXPLAINS_WORDS = [
    "例えば", "たとえば", "つまり", "なぜ", "しましょう", "みましょう", "でしょう", "学び",
    "学ぶ", "理解", "説明し", "解説", "入門", "初心者", "チュートリアル", "練習", "演習",
    "ポイント", "まず", "次に", "それでは", "わかり", "考え方", "試して", "紹介", "始め",
]  # fmt: skip

PROGRAMMING = [
    "cpprefjp.github.io", "perl-users.jp", "bliki-ja.github.io", "nablarch.github.io", "httpd.apache.org",
    "doc.rust-jp.rs", "rust-lang-ja.github.io", "vim-jp.org", "iij.github.io", "ryomashita.github.io",
    "triple-underscore.github.io", "nodered.jp", "swcarpentry-ja.github.io",
]  # fmt: skip
EXPLAINING = ["doc.rust-jp.rs", "rust-lang-ja.github.io", "iij.github.io", "swcarpentry-ja.github.io", "perl-users.jp"]
REFERENCE = [
    "cpprefjp.github.io", "vim-jp.org", "httpd.apache.org", "nablarch.github.io", "ryomashita.github.io",
    "triple-underscore.github.io", "law.e-gov.go.jp",
]  # fmt: skip
ORGANISATIONS = ("法人名", "政治的組織名", "その他の組織名", "施設名", "製品名")
LITERATURE_PASSAGES = 5
CHARACTERS = 2_000


def web(pages: Path) -> list[Example]:
    """Real pages with their hosts."""
    return list(corpus_examples(pages, CHARACTERS))


def dialogues(data: Path) -> list[Example]:
    """Dialogues of a hotel desk, by prefecture."""
    path = data / "business" / "asdc" / "dialogs.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Example("\n".join(turn["text"] for turn in row["utterances"])[:CHARACTERS], f"desk:{row['meta']['area']}")
        for row in rows
    ]


def sentences(data: Path) -> tuple[list[Example], list[Example]]:
    """Sentences that name a company, and those that name no organisation, place of business or product."""
    rows = json.loads((data / "corpus" / "ner-wikipedia" / "ner.json").read_text(encoding="utf-8"))
    company, none = [], []
    for row in rows:
        kinds = {entity["type"] for entity in row["entities"]}
        example = Example(row["text"], f"article:{row['curid']}")
        if "法人名" in kinds:
            company.append(example)
        elif not kinds & set(ORGANISATIONS):
            none.append(example)
    return company, none


def literature(data: Path) -> list[Example]:
    """Passages of literary works, by author; the notes at the head of each file are left out."""
    passages = []
    for line in (data / "corpus" / "aozora_sample.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        body = row["text"].replace("\r", "").split("-" * 55)[-1]
        for number in range(LITERATURE_PASSAGES):
            passage = body[number * CHARACTERS : (number + 1) * CHARACTERS]
            if len(passage) > 200:
                passages.append(Example(passage, f"author:{row['author']}"))
    return passages


def keyword_rate(words: Iterable[str]) -> Callable[[str], float]:
    """Occurrences of words to 1,000 characters."""
    listed = list(words)
    return lambda text: 1000 * sum(text.count(word) for word in listed) / max(1, len(text))


def ask(name: str, wanted: list[Example], others: list[Example], words: list[str], page: ScorerPage) -> dict[str, Any]:
    """One question: the scorer and the baseline on hosts that were not seen."""
    drawn = []
    for kind in (wanted, others):
        draw = Draw(4 * page.max_examples, page.seed)
        for example in kind:
            draw.add(example)
        drawn.append(draw.drawn(most=page.max_examples, per_host=page.max_per_host))
    examples = drawn[0] + drawn[1]
    labels = np.arange(len(examples)) < len(drawn[0])
    started = time.process_time()
    unseen = held_out(examples, labels, page)
    seconds = time.process_time() - started
    rate = keyword_rate(words)
    baseline = np.array([rate(example.text) for example in examples])
    slope, intercept = calibrate(unseen.margins, labels)
    return {
        "question": name,
        "wanted": len(drawn[0]),
        "others": len(drawn[1]),
        "hosts_wanted": len({example.host for example in drawn[0]}),
        "hosts_others": len({example.host for example in drawn[1]}),
        "auc": rounded(area(unseen.margins, labels)),
        "interval": [rounded(v) for v in area_interval(unseen.margins, labels, unseen.groups)],
        "keywords_auc": rounded(area(baseline, labels)),
        "keywords_interval": [rounded(v) for v in area_interval(baseline, labels, unseen.groups)],
        "gain_interval": [rounded(v) for v in gain_interval(unseen.margins, baseline, labels, unseen.groups)],
        "calibration_error": reliability(probability(unseen.margins, slope, intercept), labels)["error"],
        "by_host": by_host(examples, labels, unseen.margins),
        "cpu_seconds_held_out": round(seconds, 1),
    }


def by_host(examples: list[Example], labels: np.ndarray, margins: np.ndarray) -> dict[str, float]:
    """For web hosts with 20 documents or more: how often one of theirs is on its own side of one of the other kind."""
    rows: dict[str, list[int]] = defaultdict(list)
    for number, example in enumerate(examples):
        rows[example.host].append(number)
    found = {}
    for host, inside in sorted(rows.items()):
        if len(inside) >= 20 and ":" not in host:
            chosen = np.array(inside)
            other = np.flatnonzero(labels != labels[chosen[0]])
            both = np.concatenate([chosen, other])
            found[host] = rounded(area(margins[both], labels[both]))
    return found


def gain_interval(ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the difference of two AUC on the same draws of hosts."""
    gains = drawn_areas(ours, labels, groups) - drawn_areas(theirs, labels, groups)
    low, high = np.quantile(gains, [0.025, 0.975])
    return float(low), float(high)


def speed(texts: list[str], scorer: Scorer) -> float:
    """Texts of 1,500 characters scored in a CPU-second, the median of five runs."""
    cut = [text[:1500] for text in texts if len(text) >= 1500][:500]
    scorer.score(cut[0])
    rates = []
    for _ in range(5):
        started = time.process_time()
        for text in cut:
            scorer.score(text)
        rates.append(len(cut) / (time.process_time() - started))
    return round(float(np.median(rates)), 0)


def learned(
    wanted: list[Example], others: list[Example], site: list[Example], pages: Path, folder: Path
) -> dict[str, Any]:
    """The business scorer as a recipe would learn it, against files or against a draw of the corpus.

    Returns:
        Facts, and the mean score of each web host; none of them is of the wanted kind.
    """
    folder.mkdir()
    paths = []
    for name, examples in (("wanted", wanted), ("others", others)):
        paths.append(folder / f"{name}.jsonl")
        rows = (json.dumps({"text": e.text, "host": e.host}, ensure_ascii=False) for e in examples)
        paths[-1].write_text("\n".join(rows), encoding="utf-8")
    started = time.process_time()
    page = ScorerPage(positives=["wanted.jsonl"], negatives=["others.jsonl"] if others else [])
    facts = learn_scorer(page, paths[:1], paths[1:] if others else [], pages, folder / "scorer")
    seconds = round(time.process_time() - started, 1)
    scorer = Scorer(folder / "scorer")
    hosts: dict[str, list[float]] = defaultdict(list)
    for example in site:
        hosts[example.host].append(scorer.score(example.text))
    means = {host: rounded(np.mean(scores)) for host, scores in sorted(hosts.items())}
    return {**facts, "cpu_seconds": seconds, "mean_score_by_host": means}


def rounded(value: float) -> float:
    return round(float(value), 3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of real data")
    parser.add_argument(
        "--pages", type=Path, help="a finished folder of the stage pages; read from the crawl if absent"
    )
    parser.add_argument("--bits", type=int, default=19)
    parser.add_argument("--json", action="store_true", help="print only the JSON object")
    arguments = parser.parse_args()
    say = (lambda text: None) if arguments.json else (lambda text: print(text, file=sys.stderr, flush=True))
    with tempfile.TemporaryDirectory() as scratch:
        pages = arguments.pages or Path(scratch) / "pages"
        if arguments.pages is None:
            say("reading the crawl")
            read_pages(CorpusPage(), sorted((arguments.data / "crawl").glob("*.warc.gz")), pages)
        site, desk = web(pages), dialogues(arguments.data)
        company, none = sentences(arguments.data)
        works = literature(arguments.data)
        page = ScorerPage(positives=["given"], bits=arguments.bits)
        questions = (
            ("business", desk + company, site + works + none, BUSINESS_WORDS),
            ("companies", company, none, BUSINESS_WORDS),
            ("software", of(site, PROGRAMMING), of(site, ["law.e-gov.go.jp", "waic.github.io"]) + works + desk + none,
             SOFTWARE_WORDS),
            ("explains", of(site, EXPLAINING), of(site, REFERENCE), EXPLAINS_WORDS),
        )  # fmt: skip
        results = []
        for question in questions:
            results.append(ask(*question, page))
            say(json.dumps(results[-1], ensure_ascii=False))
        against = {
            name: learned(desk + company, others, site, pages, Path(scratch) / name)
            for name, others in (("corpus", []), ("files", works + none))
        }
        rate = speed([example.text for example in works], Scorer(Path(scratch) / "corpus" / "scorer"))
    told = {
        "bench": "domain",
        "date": datetime.date.today().isoformat(),
        "machine": {"processor": platform.machine(), "python": platform.python_version(), "numpy": np.__version__},
        "documents": dict(
            Counter(web=len(site), desk=len(desk), companies=len(company), none=len(none), works=len(works))
        ),
        "bits": arguments.bits,
        "questions": results,
        "business_against": against,
        "pages_per_cpu_s_1500_characters": rate,
    }
    print(json.dumps(told, ensure_ascii=False))
    return 0


def of(site: list[Example], hosts: list[str]) -> list[Example]:
    return [example for example in site if is_under(example.host, hosts)]


if __name__ == "__main__":
    sys.exit(main())

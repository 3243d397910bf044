"""The page: complete and partial builds, real pages, hostile texts."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from shikomi.report.page import render, visible, write_report
from shikomi.report.status import read_recorded
from tests.report.fake_store import HOSTILE, STAGES, contents, make_store, real_scores, samples, scores

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Structure(HTMLParser):
    """Checks that elements nest, and collects tags, attributes and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if dict(attrs).get("id"):
            self.ids.append(str(dict(attrs)["id"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(tmp_path):
    return render(read_recorded(make_store(tmp_path, overrides=("sample.seed=9",)), "試し"))


def test_the_page_is_well_formed_and_self_contained(page):
    found = Structure(page)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert found.of("html") == [{"lang": "ja"}]
    assert all(str(attrs["href"]).startswith(("#", "data:")) for attrs in found.of("a") + found.of("link"))
    assert not found.of("img")
    assert not any("src" in attrs for _, attrs in found.tags)
    assert not re.search(r"url\(|@import|https?://(?!kaisha\.example)", page)
    anchors = {str(attrs["href"])[1:] for attrs in found.of("a")}
    assert anchors <= set(found.ids)


def test_tables_and_charts_can_be_read_without_eyes(page):
    found = Structure(page)
    assert page.count("<caption") == len(found.of("table")) >= 7
    assert all(attrs.get("scope") for attrs in found.of("th"))
    for attrs in found.of("svg"):
        assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"


def test_the_policy_allows_exactly_the_script_that_is_there(page):
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.replace("&#39;", "'")
    assert page.count("<script") == 1


def test_a_finished_build_is_told_in_both_languages(page):
    assert "合成したウェブの 1,000 ページから 800 ページ（148万文字）を残しました。" in page
    assert "241万パラメータのモデルを 15分10秒で作りました。" in page
    assert "学習した問い方で 92.0%（95% 区間 87.0–97.0）、学習にない問い方で 50.0%" in page
    assert "Of 1,000 synthetic pages, 800 were kept (1.48M characters)." in page
    assert "すべて架空です" in page
    for word in (
        "ほぼ同じ文書",
        "7グラムの重複",
        "letters 342 &lt; 400",
        "Apache-2.0",
        "CC0-1.0",
        "sample.seed=9",
        "Some CPU",
    ):
        assert word in page
    assert "some/where" not in page
    assert page.count('class="curve"') == 4
    assert page.count('class="intervals"') == 4
    assert "再利用" in page


def test_what_tuning_forgot_is_said_with_its_uncertainty(page):
    assert "SFT → DPO：評価企業の事実は −2.0 ポイント（95% 区間 −3.5 … −0.5）。9 問を失い、3 問を得ました。" in page
    rows = re.findall(r'<span class="(same|better|worse)">([^<]+)</span>', page)
    assert ("worse", "−2.0") in rows
    assert ("same", "+2.0") in rows
    assert ("worse", "+0.010") in rows  # more bits a byte is worse


def test_the_best_model_of_each_row_stands_out(page):
    (row,) = re.findall(
        r'<tr role="row" class="metric">(?:(?!</tr>).)*facts, evaluation companies.*?</tr>', page, re.DOTALL
    )
    assert re.findall(r'class="num best"[^>]*>([\d.%]+)', row) == ["72.0%"]
    assert "いつも最頻値で答えた場合" in page
    assert "正解を入れ替えた対照" in page


def test_chats_show_wrong_answers_as_wrong(page):
    assert page.count('class="verdict wrong"') == 2
    assert page.count('class="verdict right"') == 1
    assert "（空の回答）" in page
    assert "架空堂について。…" in page


def test_hostile_texts_stay_texts(tmp_path):
    told = scores()
    told["answers"][0] |= {"answer": HOSTILE, "question": HOSTILE, "gold": HOSTILE}
    told["chats"][0]["messages"][1]["content"] = HOSTILE
    told["metrics"]["facts"]["ja"] = HOSTILE
    told["by_field"][HOSTILE] = {"dpo": {"seen": None}}
    wild = samples(HOSTILE)
    for row in (*wild["kept"], *wild["dropped"]):
        row |= {"url": "javascript:" + HOSTILE, "detail": HOSTILE, "duplicate_of": HOSTILE}
    corpus, _ = contents("corpus")
    corpus["funnel.json"]["dropped_by_reason"][HOSTILE] = 1
    corpus["funnel.json"]["hosts"][0]["host"] = HOSTILE
    safe = {key: _json_safe(value) for key, value in {**corpus, "samples.json": wild}.items()}
    files = {"evaluate": {"scores.json": _json_safe(told)}, "corpus": safe}
    root = make_store(
        tmp_path, "<b>名", files=files, facts={"corpus": {"licences": {HOSTILE.replace("\ud800", ""): 3}}},
        overrides=(HOSTILE.replace("\ud800", ""),),
    )  # fmt: skip
    build = read_recorded(root, "<b>名")
    path = root / "reports" / "名.html"
    write_report(build, path)
    page = path.read_text(encoding="utf-8")
    found = Structure(page)
    assert found.open == []
    assert page.count("<script") == 1
    assert not found.of("img")
    assert not found.of("b")
    assert not any(name.startswith("on") for _, attrs in found.tags for name in attrs)
    assert "&lt;script&gt;alert(&#34;x&#34;)" in page
    assert "{{ 7 * 7 }}" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page)
    assert not any(str(attrs["href"]).startswith("javascript") for attrs in found.of("a"))


def _json_safe(value):
    """The value as it reaches a file: a half surrogate is no UTF-8, files hold U+FFFD for it."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_json_safe(key): _json_safe(item) for key, item in value.items()}
    return [_json_safe(item) for item in value] if isinstance(value, list) else value


def test_letters_that_cannot_be_shown_go():
    assert visible("あ\u202eい\x07う\n\tえ") == "あいう\n\tえ"
    assert visible("x\ud83dy") == "x\ufffdy"
    assert visible("全角\u3000空白") == "全角\u3000空白"
    assert visible(3) == 3


@pytest.mark.parametrize("count", range(len(STAGES)))
def test_a_build_that_is_only_partly_done_still_gives_a_page(tmp_path, count):
    page = render(read_recorded(make_store(tmp_path, finished=STAGES[:count]), "試し"))
    assert Structure(page).open == []
    assert "未実行" in page
    assert ("まだ何も完成していません。" in page) == (count < 4)
    assert ("コーパスはまだありません。" in page) == (count < 4)
    assert ("学習はまだ始まっていません。" in page) == (count < 7)
    assert "評価はまだ終わっていません。" in page or count > 10


def test_the_corpus_is_shown_from_all_sides(tmp_path):
    page = render(read_recorded(make_store(tmp_path), "試し"))
    for said in (
        "規程集",
        "取得した年",
        "伏せた個人情報",
        "重複のまとまり",
        "https://kaisha.example/utsushi",
        "0.910",
        "ほか…",
    ):
        assert said in page
    files = {
        "corpus": {"funnel.json": {"read": 3, "kept": 1, "dropped_by_reason": {"letters": 2}}, "duplicates.json": []}
    }
    bare = render(read_recorded(make_store(tmp_path / "bare", files=files), "試し"))
    assert Structure(bare).open == []
    assert not any(said in bare for said in ("取得した年", "伏せた個人情報", "重複のまとまり", "元ごとの内訳"))


def test_real_pages_are_told_without_companies(tmp_path):
    stages = tuple(stage for stage in STAGES if stage != "crawl")
    facts = {"dialogues": {"synthetic": False, "mechanics_only": True, "licences": {"MIT": 500}}}
    root = make_store(tmp_path, stages=stages, facts=facts, files={"evaluate": {"scores.json": real_scores()}})
    page = render(read_recorded(root, "試し"))
    assert Structure(page).open == []
    assert "架空です" not in page
    assert "synthetic pages" not in page
    assert "Of 1,000 crawled pages" in page
    assert "読解の質問に 3.0%" in page
    assert "公開できません" in page
    assert "held-out pairs" in page
    assert "By kind of fact" not in page


def test_leaks_and_cut_prompts_are_said(tmp_path):
    told = scores() | {"subjects_in_training": 3, "prompts_cut": 7}
    page = render(read_recorded(make_store(tmp_path, files={"evaluate": {"scores.json": told}}), "試し"))
    assert "評価対象のうち 3 件は学習用の対話にも現れます" in page
    assert "7 prompts did not fit" in page


def test_a_page_is_the_same_every_time(tmp_path):
    build = read_recorded(make_store(tmp_path), "試し")
    assert render(build) == render(build)


def test_samples_of_every_reason_are_shown_commonest_first(tmp_path):
    reasons = [f"reason_{number:02d}" for number in range(20)]
    row = {"url": "u", "detail": "", "characters": 1, "excerpt": "x", "measures": {}, "duplicate_of": ""}
    dropped = [
        {**row, "reason": name, "url": f"https://kaisha.example/{name}/{n}"}
        for name in sorted(reasons)
        for n in range(3)
    ]
    counts = contents("corpus")[0]["funnel.json"] | {"dropped_by_reason": dict.fromkeys(reversed(reasons), 10)}
    files = {"corpus": {"funnel.json": counts, "samples.json": {"kept": [], "dropped": dropped}}}
    page = render(read_recorded(make_store(tmp_path, files=files), "試し"))
    shown = re.findall(r"kaisha\.example/(reason_\d+)/0", page)
    assert shown == list(reversed(reasons))

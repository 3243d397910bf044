"""Words of the report: Japanese and English names of stages, reasons, measures and fields, and numbers as said."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

Pair = tuple[str, str]
"""A name in Japanese and in English."""

STAGES: dict[str, Pair] = {
    "crawl": ("合成クロール", "synthetic crawl"),
    "fetch": ("Common Crawl の取得", "fetching Common Crawl"),
    "domain": ("文書の選別の学習", "learned selection"),
    "pages": ("ページ", "pages"),
    "corpus": ("コーパス", "corpus"),
    "tokenizer": ("トークナイザ", "tokenizer"),
    "tokens": ("トークン列", "tokens"),
    "pretrain": ("事前学習", "pretraining"),
    "release_base": ("ベースの書き出し", "base release"),
    "dialogues": ("対話データ", "dialogues"),
    "anneal": ("アニーリング", "annealing"),
    "sft": ("教師あり調整 SFT", "supervised fine-tuning"),
    "dpo": ("選好調整 DPO", "preference tuning"),
    "evaluate": ("評価", "evaluation"),
    "release": ("モデルの書き出し", "model release"),
}

MODELS: dict[str, Pair] = {
    "base": ("ベース", "base"),
    "anneal": ("アニーリング", "anneal"),
    "sft": ("SFT", "SFT"),
    "dpo": ("DPO", "DPO"),
}

REASONS: dict[str, Pair] = {
    "damaged_record": ("壊れた記録", "damaged record"),
    "too_large": ("大きすぎる", "too large"),
    "http_status": ("HTTP の失敗", "HTTP status"),
    "not_html": ("HTML でない", "not HTML"),
    "charset": ("文字コード不明", "no charset fits"),
    "extraction_failed": ("本文を取り出せない", "extraction failed"),
    "no_text": ("本文がない", "no running text"),
    "not_japanese": ("日本語でない", "not Japanese"),
    "exact_copy": ("完全な重複", "exact copy"),
    "near_copy": ("ほぼ同じ文書", "near copy"),
    "earlier_copy": ("以前のコーパスにある", "in an earlier corpus"),
    "url_copy": ("同じアドレスの別の取得", "another fetch of the address"),
    "mirror_host": ("写しのホスト", "mirror of another host"),
    "opted_out": ("利用を望まれていない", "opted out"),
    "url_category": ("除外する種類のサイト", "kind of site left out"),
    "ng_fraction": ("NGワードの割合", "share of NG words"),
    "boilerplate": ("定型文だけ", "only boilerplate"),
    "contaminated": ("評価データを含む", "holds evaluation data"),
    "quarantined": ("隔離した頁", "put aside"),
}

MASKED: dict[str, Pair] = {
    "mail": ("メール", "mail"),
    "phone": ("電話", "phone"),
    "hotline": ("案内電話", "hotline"),
    "postal_code": ("郵便番号", "postal code"),
    "address": ("住所", "address"),
    "card": ("カード番号", "card number"),
    "my_number": ("個人番号", "individual number"),
    "ipv4": ("IPアドレス", "IP address"),
}

KINDS: dict[str, Pair] = {
    "original": ("残した", "stays"),
    "exact": ("同じ", "same text"),
    "near": ("ほぼ同じ", "near copy"),
    "earlier": ("以前のコーパス", "earlier corpus"),
    "url": ("同じアドレス", "same address"),
}

MEASURES: dict[str, Pair] = {
    "letters": ("文字数", "letters"),
    "japanese_letters": ("日本語の文字数", "Japanese letters"),
    "hiragana_fraction": ("ひらがなの割合", "share of hiragana"),
    "katakana_fraction": ("カタカナの割合", "share of katakana"),
    "japanese_fraction": ("日本語の割合", "share of Japanese"),
    "mean_sentence_length": ("文の長さの平均", "mean sentence length"),
    "max_sentence_length": ("最長の文", "longest sentence"),
    "ellipsis_fraction": ("省略記号で終わる行", "lines ending in an ellipsis"),
    "duplicate_paragraph_fraction": ("段落の重複", "repeated paragraphs"),
    "duplicate_paragraph_characters_fraction": ("段落の重複（文字）", "repeated paragraphs, characters"),
    "duplicate_sentence_fraction": ("文の重複", "repeated sentences"),
    "duplicate_sentence_characters_fraction": ("文の重複（文字）", "repeated sentences, characters"),
    "duplicate_line_fraction": ("行の重複", "repeated lines"),
    "duplicate_line_characters_fraction": ("行の重複（文字）", "repeated lines, characters"),
    "closed_line_fraction": ("句点などで終わる行", "lines ending in a mark"),
    "line_feeds_per_word": ("語あたりの改行", "line feeds per word"),
    "words": ("語数", "words"),
    "mean_word_length": ("語の長さの平均", "mean word length"),
    "hashes_per_word": ("語あたりの #", "hashes per word"),
    "ellipses_per_word": ("語あたりの省略記号", "ellipses per word"),
    "bullet_line_fraction": ("箇条書きの行", "bullet lines"),
    "ellipsis_line_fraction": ("省略記号で終わる行", "lines ending in an ellipsis"),
    "alphabetic_word_fraction": ("文字を含む語", "words with a letter"),
    "stop_words": ("ストップワード", "stop words"),
}

FIELDS: dict[str, Pair] = {
    "founded": ("設立年", "founded"),
    "head_office": ("本社", "head office"),
    "president": ("社長", "president"),
    "product": ("主な製品", "product"),
    "employees": ("従業員数", "employees"),
    "business": ("事業", "business"),
}

CHATS: dict[str, Pair] = {
    "question": ("質問", "question"),
    "extract": ("抽出", "extraction to JSON"),
    "multi_turn": ("複数の往復", "several turns"),
    "chat": ("会話", "chat"),
}

STATES: dict[str, Pair] = {
    "finished": ("完了", "finished"),
    "cached": ("再利用", "cached"),
    "unfinished": ("途中", "unfinished"),
    "missing": ("未実行", "not run"),
}

CLUSTERS: dict[str, Pair] = {
    "company": ("社", "companies"),
    "article": ("記事", "articles"),
    "prompt": ("件の指示", "prompts"),
    "document": ("文書", "documents"),
}


def reason(name: str) -> Pair:
    """A reason for dropping a page, in words; a rule's name says which way its measure failed."""
    if name in REASONS:
        return REASONS[name]
    for prefix, ja, en in (("min_", "が足りない", "too low"), ("max_", "が多すぎる", "too high")):
        measure = name.removeprefix(prefix)
        if measure != name:
            known = MEASURES.get(measure, _ngram(measure))
            return known[0] + ja, f"{known[1]}: {en}"
    return MEASURES.get(name, _ngram(name))


def _ngram(name: str) -> Pair:
    of_words = re.fullmatch(r"(top|duplicate)_(\d+)word_fraction", name)
    if of_words and of_words[1] == "top":
        return f"最多の{of_words[2]}語連続の割合", f"share of the commonest run of {of_words[2]} words"
    if of_words:
        return f"{of_words[2]}語連続の重複", f"repeated runs of {of_words[2]} words"
    head, _, tail = name.partition("gram")
    if tail == "_fraction" and head.startswith(("top_", "duplicate_")):
        kind, number = head.split("_", 1)
        if kind == "top":
            return f"最多の{number}グラムの割合", f"share of the commonest {number}-gram"
        return f"{number}グラムの重複", f"repeated {number}-grams"
    return name, name.replace("_", " ")


def named(table: dict[str, Pair], name: str) -> Pair:
    """A name in both languages; itself where the table has none."""
    return table.get(name, (name, name))


def number(value: float | None) -> str:
    """A count with thousands separated; ``–`` for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def large(value: float) -> str:
    """A count as Japanese says it: ``2_412_000`` → ``241万``."""
    return _scaled(value, ((10**12, "兆"), (10**8, "億"), (10**4, "万")))


def short(value: float) -> str:
    """A count as English says it: ``2_412_000`` → ``2.41M``."""
    return _scaled(value, ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")))


def _scaled(value: float, scales: Sequence[tuple[int, str]]) -> str:
    rounded = float(f"{value:.3g}")  # so that 99,999,999 is one of the next unit
    for scale, word in scales:
        if rounded >= scale:
            return f"{_three(rounded / scale)}{word}"
    return number(value)


def _three(value: float) -> str:
    """Three significant digits, never an exponent."""
    digits = max(0, 2 - math.floor(math.log10(value))) if value > 0 else 0
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; ``–`` for None."""
    return "–" if share is None else f"{100 * share:.1f}%"


def points(share: float | None) -> str:
    """A difference of shares in percentage points, always with its sign."""
    return "–" if share is None else signed(100 * share, 1)


def signed(value: float | None, digits: int) -> str:
    """A number with its sign (a true minus); plain 0 where it rounds to nothing."""
    if value is None:
        return "–"
    text = f"{abs(value):.{digits}f}"
    if not float(text):
        return text
    return ("−" if value < 0 else "+") + text


def duration(seconds: float) -> Pair:
    """A duration: ``("9分12秒", "9:12")``."""
    if seconds < 60:
        text = f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}"
        return f"{text}秒", f"{text} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}時間{minutes}分", f"{hours}:{minutes:02d}:{rest:02d}"
    return f"{minutes}分{rest}秒", f"{minutes}:{rest:02d}"


def megabytes(value: float) -> str:
    """Megabytes, or gigabytes from a thousand on."""
    return f"{value / 1000:.2f} GB" if value >= 1000 else f"{value:.0f} MB"

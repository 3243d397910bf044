"""The gold rules: which answers count as right, and which style of answer is preferred."""

from __future__ import annotations

import re
import unicodedata

GOLD_ENDING = "です。"
"""The preferred answer is the bare value with this ending: polite, one sentence, nothing else."""

_FIRST_SENTENCE = re.compile(r"[。！？!?\n]")
_COPULA = re.compile(r"(?:で(?:す|ございます|ある)|だ)?(?:よね|よ|ね|な)?$")
_WRAPPING = "「」『』\"'“” 　、"


def normalise_answer(text: str) -> str:
    """The value an answer gives, whatever its style: first sentence, NFKC, without copula, quotes and spaces.

    ``"1987年です。"``, ``"１９８７年だよ。"`` and ``"1987年ですね。詳しくは…"`` all give ``"1987年"``.
    """
    text = unicodedata.normalize("NFKC", text).strip()
    first = _FIRST_SENTENCE.split(text, maxsplit=1)[0].strip(_WRAPPING)
    return _COPULA.sub("", first).strip(_WRAPPING)


def follows_gold_rule(answer: str) -> bool:
    """Whether an answer is one polite sentence, ``<value>です。``, and nothing else (right or wrong alike)."""
    answer = answer.strip()
    value = answer.removesuffix(GOLD_ENDING)
    return bool(value.strip()) and value != answer and not _FIRST_SENTENCE.search(value)

"""Examinees that answer by rule, for tests of the evaluation."""

from __future__ import annotations

import json

from shikomi.evaluate.examinee import Reply

FIELDS = {"founded": "設立年", "head_office": "本社"}
CITIES = ["京都市", "札幌市", "京都市", "金沢市", "仙台市", "京都市"]


def value_of(field: str, company: int) -> str:
    return f"{1950 + company}年" if field == "founded" else CITIES[company]


class RuleExaminee:
    """Answers by a function of the question's text; ids are code points, an answer token a character."""

    def __init__(self, answer, bits_per_id: float = 8.0, max_tokens: int = 512) -> None:
        self.answer, self.bits_per_id, self.max_tokens, self.vocab_size = answer, bits_per_id, max_tokens, 70_000
        self.asked: list[str] = []

    def prompt(self, messages):
        return [ord(letter) for letter in "\n".join(message.content for message in messages)]

    def count(self, text):
        return len(text)

    def reply(self, prompts, max_tokens):
        questions = ["".join(chr(id) for id in prompt) for prompt in prompts]
        self.asked += questions
        answers = [self.answer(question) for question in questions]
        return [Reply(answer[:max_tokens], len(answer) >= max_tokens) for answer in answers]

    def pair_log_probs(self, prompt, answers):
        return [(-(len(answer) ** 0.5), len(answer)) for answer in answers]

    def document_bits(self, documents, window):
        return [self.bits_per_id * len(ids) for ids in documents]

    def document_bytes(self, ids):
        return len(ids)


def knows(share_of_companies: int, ending: str = "です。"):
    """An answerer that knows the first so many companies."""

    def answer(question: str) -> str:
        last = question.splitlines()[-1]
        company = next((n for n in range(6) if f"会社{n}番" in question), None)
        if company is None:
            return "わかりません。"
        if "JSON" in last:
            return json.dumps({"本社": value_of("head_office", company)}, ensure_ascii=False)
        field = next((field for field, noun in FIELDS.items() if noun in last), "founded")
        return (value_of(field, company) if company < share_of_companies else "不明") + ending

    return answer

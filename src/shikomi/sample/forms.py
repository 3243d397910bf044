"""Question wordings: a grammar of frames, nouns and clauses per field, split into seen and unseen ones."""

from __future__ import annotations

import random
from dataclasses import dataclass

from shikomi.sample import tables

UNSEEN_FORMS = 24
"""Wordings a field kept for evaluation."""


@dataclass(frozen=True)
class Form:
    """One wording of a question about one field.

    Attributes:
        id: field, frame and word choice, for example ``founded.a1.2``.
        field: which fact it asks for.
        words: the wording as words, ``{c}`` standing for the company.
        habit: how tuning dialogues tend to answer it (a key of ``dialogues.HABITS``); empty for unseen ones.
        seen: whether tuning dialogues use it.
    """

    id: str
    field: str
    words: tuple[str, ...]
    habit: str
    seen: bool

    def ask(self, company: str) -> str:
        """The question about one company."""
        return "".join(company if word == "{c}" else word for word in self.words)


def seen_forms(field: str, seed: int, count: int) -> list[Form]:
    """``count`` wordings for tuning (fewer where the grammar has fewer): every frame once before any twice."""
    return _spread(_grammar(field, "seen"), random.Random(f"forms:{seed}:{field}"), count)


def unseen_forms(field: str, seed: int, count: int = UNSEEN_FORMS) -> list[Form]:
    """``count`` wordings of frames that no tuning dialogue uses."""
    return _spread(_grammar(field, "unseen"), random.Random(f"unseen:{seed}:{field}"), count)


def _spread(frames: list[list[Form]], rng: random.Random, count: int) -> list[Form]:
    """Take from shuffled frames in turn, a random word choice of each, until ``count`` are found."""
    for frame in frames:
        rng.shuffle(frame)
    found: list[Form] = []
    while len(found) < count and any(frames):
        turn = [frame for frame in frames if frame]
        rng.shuffle(turn)
        found.extend(frame.pop() for frame in turn[: count - len(found)])
    return found


def _grammar(field: str, kind: str) -> list[list[Form]]:
    """All wordings of one field, a list a frame."""
    frames = []
    for line in tables.section("forms", kind):
        name, rest = line.split(maxsplit=1)
        habit, wording = rest.split(maxsplit=1) if kind == "seen" else ("", rest)
        frames.append(
            [
                Form(
                    f"{field}.{name}.{index}",
                    field,
                    tuple(wording.format(c="{c}", **slots).split()),
                    habit,
                    kind == "seen",
                )
                for index, slots in enumerate(_choices(field, wording))
            ]
        )
    return frames


def _choices(field: str, wording: str) -> list[dict[str, str]]:
    """The word choices that a frame has room for."""
    if "{k}" in wording:
        pairs = (line.split("\t") for line in tables.section("forms", f"cleft.{field}"))
        return [{"k": clause, "q0": word} for clause, word in pairs]
    if "{v}" in wording or "{vm}" in wording:
        pairs = (line.split("\t") for line in tables.section("forms", f"verb.{field}"))
        return [{"v": plain, "vm": polite} for plain, polite in pairs]
    return [{"n": noun, "q": word} for noun, word in nouns(field)]


def nouns(field: str) -> list[tuple[str, str]]:
    """Nouns that name a field, each with the question word that goes with it."""
    pairs = (line.split() for line in tables.section("forms", f"noun.{field}"))
    return [(noun, word) for noun, word in pairs]

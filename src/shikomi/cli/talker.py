"""A model folder one can talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shikomi.data.dialogue import Message
from shikomi.evaluate.examinee import LoadedModel
from shikomi.model.answers import Options


class Talker:
    """Answers single questions, or one conversation with its earlier turns.

    Args:
        folder: a model folder, tokenizer included.
        max_tokens: longest answer, in tokens.
        temperature: 0 always takes the likeliest token.
        seed: of what a temperature above 0 draws.
    """

    def __init__(self, folder: Path, max_tokens: int, temperature: float = 0.0, seed: int = 0) -> None:
        self.model = LoadedModel.open(folder)
        self.max_tokens = min(max_tokens, self.model.max_tokens // 2)
        self.options = Options(max_tokens=self.max_tokens, temperature=temperature, seed=seed)
        self.turns: list[Message] = []

    def answers(self, questions: Sequence[str], on_progress: Callable[[int, int], None] | None = None) -> list[str]:
        """The answer to each question, each by itself."""
        if not questions:
            return []
        prompts = [self.model.prompt([Message("user", question)]) for question in questions]
        found = self.model.generator.generate(prompts, self.options, on_progress=on_progress)
        return [self.model.codec.decode(answer.ids).strip() for answer in found]

    def say(self, text: str) -> Iterator[str]:
        """Take the user's next turn; yields the answer in pieces as it is made, and remembers both."""
        self.turns.append(Message("user", text))
        stream, said = self.model.codec.stream(), []
        for new in self.model.generator.stream(self._prompt(), self.options.numbered(len(self.turns))):
            said.append(stream.push(new))
            yield said[-1]
        said.append(stream.finish())
        yield said[-1]
        self.turns.append(Message("assistant", "".join(said).strip()))

    def forget(self) -> None:
        """Begin a new conversation."""
        self.turns = []

    def _prompt(self) -> list[int]:
        """The conversation as ids; its oldest turns are left out where the context is too short for all."""
        room = self.model.max_tokens - self.max_tokens
        while len(self.model.prompt(self.turns)) > room and len(self.turns) > 2:
            self.turns = self.turns[2:]
        return self.model.prompt(self.turns)

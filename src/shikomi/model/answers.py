"""What is asked of the generator and what it gives: options, stop rules, answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from shikomi.errors import UsageError
from shikomi.model.sampling import Sampling


@dataclass(frozen=True)
class Options(Sampling):
    """How a prompt is answered; see ``Sampling`` for how tokens are chosen.

    Attributes:
        max_tokens: most tokens of the answer; None: until the context is full.
        keep_prompt: a prompt that leaves no room for ``max_tokens`` is not cut: the answer ends where the context
            does. Otherwise such a prompt loses its beginning.
        stop_ids: ids that end an answer, besides the generator's own; they are not part of it.
        stop_sequences: sequences of ids that end an answer; they are not part of it.
        stop_when: called with the answer's ids after each new one; True ends it (``StopTexts`` is one).
        log_probs: whether the log-probability of each chosen token is kept.
    """

    max_tokens: int | None = 256
    keep_prompt: bool = False
    stop_ids: Sequence[int] = ()
    stop_sequences: Sequence[Sequence[int]] = ()
    stop_when: Callable[[Sequence[int]], bool] | None = None
    log_probs: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"{self.max_tokens} new tokens are no answer", hint="ask for 1 or more")
        if any(not sequence for sequence in self.stop_sequences):
            raise UsageError("an empty stop sequence would end every answer at once")

    def numbered(self, number: int) -> Options:
        """The same options for the prompt of this number: with a seed of its own."""
        return replace(self, seed=self.seed * 1_000_003 + number)


@dataclass(eq=False)
class Answer:
    """An answer as it grows.

    Attributes:
        prompt: the ids that are continued, after a long prompt has lost its beginning.
        options: what was asked.
        room: most tokens it may have.
        ids: the answer so far, without what ended it.
        log_probs: of each id, then of the stop id or of the stop sequence's ids where one ended it; in nats, under the
            model as it is; empty unless asked for.
        finish: why it ended: ``stop``, ``length`` (``max_tokens`` reached), ``context`` (full), ``cancelled``; empty
            while it goes on.
        stop_id: the id that ended it, or None.
    """

    prompt: list[int]
    options: Options
    room: int
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    finish: str = ""
    stop_id: int | None = None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return bool(self.finish)

    @property
    def cut(self) -> bool:
        """Whether it was still going on when its room was used up."""
        return self.finish in ("length", "context")

    @property
    def settled(self) -> int:
        """How many of ``ids`` are certain to stay: a running answer may end in the beginning of a stop sequence."""
        longest = max(map(len, self.options.stop_sequences), default=1)
        return len(self.ids) if self.done else max(0, len(self.ids) - longest + 1)

    def push(self, token: int, stop_ids: frozenset[int]) -> None:
        """Take the next token, or end because of it."""
        options = self.options
        if token in stop_ids or token in options.stop_ids:
            self.finish, self.stop_id = "stop", token
            return
        self.ids.append(token)
        for sequence in options.stop_sequences:
            if self.ids[-len(sequence) :] == list(sequence):
                del self.ids[-len(sequence) :]
                self.finish = "stop"
                return
        if options.stop_when is not None and options.stop_when(self.ids):
            self.finish = "stop"
        elif len(self.ids) >= self.room:
            self.finish = "length" if self.room == options.max_tokens else "context"


def asked(prompt: Sequence[int], options: Options, context: int) -> Answer:
    """An answer that has not begun.

    Args:
        prompt: token ids; without ``keep_prompt``, one that leaves no room loses its beginning.
        options: what is asked.
        context: the model's context, in tokens.

    Raises:
        UsageError: an empty prompt, or no room for an answer.
    """
    if not prompt:
        raise UsageError("an empty prompt cannot be continued")
    wanted = options.max_tokens
    if options.keep_prompt or wanted is None:
        if options.keep_prompt and len(prompt) >= context:
            raise UsageError(
                f"a prompt of {len(prompt)} tokens leaves no room in a context of {context}",
                hint="shorten the prompt",
            )
        kept = list(prompt)[-(context - 1) :]
        room = context - len(kept)
        return Answer(kept, options, room if wanted is None else min(wanted, room))
    if wanted >= context:
        raise UsageError(
            f"{wanted} new tokens leave no room in a context of {context}", hint="ask for fewer new tokens"
        )
    return Answer(list(prompt)[-(context - wanted) :], options, wanted)


class StopTexts:
    """Ends an answer when its text has one of several texts in it: an ``Options.stop_when``.

    Args:
        decode: ids to text, such as a codec's ``decode``.
        texts: what ends the answer.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str], texts: Sequence[str]) -> None:
        if not all(texts):
            raise UsageError("an empty stop text would end every answer at once")
        self.decode, self.texts = decode, tuple(texts)

    def __call__(self, ids: Sequence[int]) -> bool:
        """Whether one of the texts is there."""
        # A text of n bytes ends within the last n tokens, since a token is a byte or more; some more of them, so
        # that the first decoded character is whole.
        longest = max((len(text.encode()) for text in self.texts), default=0)
        tail = self.decode(ids[-(longest + 4) :])
        return any(text in tail for text in self.texts)

    def cut(self, text: str) -> str:
        """The text before the first of the texts."""
        return text[: min((text.find(stop) for stop in self.texts if stop in text), default=len(text))]

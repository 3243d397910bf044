"""The one generator: batched, with a key-value cache; prompts come and go while it runs.

Evaluation, chat, serving and reinforcement learning stand on it. An answer depends on its own prompt, options and seed
alone, not on what is answered beside it, as far as floating point permits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shikomi.model.answers import Answer, Options, asked
from shikomi.model.decoder import Decoder, Segment
from shikomi.model.sampling import Choice, choose, log_probs
from shikomi.model.transformer import Transformer

ROWS_AT_ONCE = 64
"""Rows generated together. Measured on 2 CPU cores at 2.4M parameters: 32 to 128 are equal within noise."""

PROMPT_TOKENS_AT_ONCE = 2048
"""Prompt tokens read in one step, so that a long prompt does not hold up the answers beside it for long: about 0.1 s
at 10M parameters on 2 CPU cores."""

SHARED_TOKENS = 16
"""Shortest common beginning that is copied from another row rather than read again."""


@dataclass(eq=False)
class _Row:
    """A row of the cache: ``ids`` of which the first ``filled`` are in it; free rows remember what they held."""

    answer: Answer | None = None
    choice: Choice | None = None
    ids: list[int] = field(default_factory=list)
    filled: int = 0


class Generator:
    """Continues prompts. Not for use from several threads at once.

    Rows 0 … ``_answering`` - 1 get a token each step; the ``_reading`` rows after them still read their prompts; the
    rest is free.

    Args:
        model: whose weights are used. They are copied, side by side; weights that have changed since are noticed
            when nothing is being answered.
        stop_ids: ids that end every answer.
        rows: most answers at once.
        dtype: what to compute in; None: the weights' own.
    """

    def __init__(
        self,
        model: Transformer,
        stop_ids: Sequence[int] = (),
        *,
        rows: int = ROWS_AT_ONCE,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.model = model.eval()
        self.stop_ids = frozenset(stop_ids)
        self.dtype = dtype
        self._most = rows
        self._rows: list[_Row] = []
        self._answering = self._reading = self._slots = 0
        self._waiting: deque[Answer] = deque()
        self._decoder: Decoder | None = None
        self._state: tuple[object, ...] = ()

    @property
    def busy(self) -> bool:
        """Whether something is being answered or waits."""
        return bool(self._answering + self._reading + len(self._waiting))

    def submit(self, prompt: Sequence[int], options: Options) -> Answer:
        """Ask for an answer; it grows with each ``step`` once there is a row for it.

        Raises:
            UsageError: an empty prompt, or no room for an answer.
        """
        answer = asked(prompt, options, self.model.config.max_tokens)
        self._slots = max(self._slots, len(answer.prompt) + answer.room)
        self._waiting.append(answer)
        return answer

    def cancel(self, answer: Answer) -> None:
        """End an answer; one that has ended stays as it is."""
        if answer.done:
            return
        answer.finish = "cancelled"
        if answer in self._waiting:
            self._waiting.remove(answer)
        for place, row in enumerate(self._rows):
            if row.answer is answer:
                with torch.inference_mode():
                    self._release(place)
                return

    @torch.inference_mode()
    def step(self) -> list[Answer]:
        """Admit prompts to free rows, read prompts, and add a token to each answer; those that grew or ended.

        A step that is cut off (by an error or the keyboard) ends all answers that have begun.
        """
        try:
            self._admit()
            grown = self._read() if self._reading else []
            if self._answering:
                grown += self._answer()
            return list(dict.fromkeys(grown))
        except BaseException:
            self._abandon()
            raise

    def stream(self, prompt: Sequence[int], options: Options) -> Iterator[int]:
        """The ids of one answer as they are made; one that is not waited for to the end is cancelled."""
        answer, given = self.submit(prompt, options), 0
        try:
            while not answer.done:
                self.step()
                yield from answer.ids[given : answer.settled]
                given = max(given, answer.settled)
        finally:
            self.cancel(answer)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        options: Options | Sequence[Options],
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Answer]:
        """The answer to each prompt; equal prompts, and equal beginnings, are read once.

        Args:
            prompts: token ids.
            options: one for each prompt; or one for all, each prompt with its own seed, made of the options' seed
                and the prompt's number.
            on_progress: called with (finished prompts, all prompts).

        Raises:
            UsageError: an empty prompt, or no room for an answer.
        """
        if isinstance(options, Options):
            options = [options.numbered(number) for number in range(len(prompts))]
        answers: list[Answer] = []
        try:
            for prompt, own in zip(prompts, options, strict=True):
                answers.append(self.submit(prompt, own))
            mine, finished = set(map(id, answers)), 0
            while finished < len(answers):
                ended = sum(answer.done and id(answer) in mine for answer in self.step())
                finished += ended
                if ended and on_progress:
                    on_progress(finished, len(answers))
        finally:
            for answer in answers:
                self.cancel(answer)
        return answers

    def refresh(self) -> None:
        """Read the model's weights anew for answers that have not begun; needed only where they were changed in a way
        that tensors do not count (``.data``).

        The memory of cache and weights is given back until the next step.
        """
        if self._answering + self._reading == 0:
            self._decoder, self._rows = None, []

    def _admit(self) -> None:
        """Give free rows to waiting prompts."""
        if not self._waiting:
            return
        if not self._answering + self._reading:
            self._open()
        assert self._decoder is not None
        taken = self._answering + self._reading
        cache = self._decoder.cache
        wanted = taken + len(self._waiting)
        if wanted > cache.rows or self._slots > cache.slots:
            wanted = min(max(wanted, 2 * cache.rows), self._most, max(taken, cache.affordable(self._slots)))
            if cache.reserve(wanted, self._slots):
                self._decoder.graphs.forget()
        self._rows += [_Row() for _ in range(cache.rows - len(self._rows))]
        later: deque[Answer] = deque()
        while self._waiting and self._answering + self._reading < len(self._rows):
            answer = self._waiting.popleft()
            if not self._place(answer):
                later.append(answer)
        self._waiting.extendleft(reversed(later))

    def _place(self, answer: Answer) -> bool:
        """Give an answer the first free row, with as much of its prompt as another row holds; False where a row is
        just reading more of the same."""
        assert self._decoder is not None
        prompt, place = answer.prompt, self._answering + self._reading
        source, shared, coming = place, 0, 0
        for number, row in enumerate(self._rows):
            common = _common(prompt, row.ids, min(coming, shared))
            if common > coming and row.answer is not None:
                coming = common
            common = min(common, row.filled, len(prompt) - 1)
            if common > shared:
                source, shared = number, common
        if min(coming, len(prompt) - 1) - shared >= SHARED_TOKENS:
            return False
        if shared < SHARED_TOKENS:
            shared = 0
        elif source != place:
            self._decoder.cache.copy(source, place, shared)
        self._rows[place] = _Row(answer, Choice(answer.options, prompt), list(prompt), shared)
        self._reading += 1
        return True

    def _read(self) -> list[Answer]:
        """Read prompts; rows that have read theirs to the end get their first token."""
        assert self._decoder is not None
        budget, segments, complete = PROMPT_TOKENS_AT_ONCE, [], []
        for number, place in enumerate(range(self._answering, self._answering + self._reading)):
            row = self._rows[place]
            tokens = row.ids[row.filled : row.filled + budget]
            if not tokens:
                break
            last = segments[-1] if segments else None
            if last and last.start == row.filled and len(last.tokens[0]) == len(tokens):
                last.tokens.append(tokens)
            else:
                segments.append(Segment(place, row.filled, [tokens]))
            row.filled += len(tokens)
            budget -= len(tokens)
            if row.filled == len(row.ids):
                complete.append((place, number))
        logits = self._decoder.prefill(segments)
        for place, _ in complete:
            self._exchange(place, self._answering)
            self._answering += 1
            self._reading -= 1
        begun = range(self._answering - len(complete), self._answering)
        return self._extend(begun, logits[[number for _, number in complete]]) if complete else []

    def _answer(self) -> list[Answer]:
        """One token more for each row that answers."""
        assert self._decoder is not None
        count = self._answering
        if self._decoder.graphs.records:
            # Few batch sizes, each recorded once; rows beyond write to a slot that is nobody's.
            count = min(1 << (count - 1).bit_length(), len(self._rows))
        rows = self._rows[:count]
        tokens = [row.ids[-1] for row in rows[: self._answering]] + [0] * (count - self._answering)
        logits = self._decoder.decode(tokens, [row.filled for row in rows])
        for row in rows[: self._answering]:
            row.filled += 1
        return self._extend(range(self._answering), logits[: self._answering])

    def _extend(self, places: range, logits_BV: Tensor) -> list[Answer]:
        """Choose a token for each of some rows; those that ended are free again."""
        rows = self._rows[places.start : places.stop]
        choices = [row.choice for row in rows if row.choice is not None]
        tokens = choose(logits_BV, choices)
        asking = [number for number, row in enumerate(rows) if row.answer and row.answer.options.log_probs]
        if asking:
            found = log_probs(logits_BV[asking], [tokens[number] for number in asking])
            for number, value in zip(asking, found, strict=True):
                rows[number].answer.log_probs.append(value)  # type: ignore[union-attr]
        answers = []
        for row, choice, token in zip(rows, choices, tokens, strict=True):
            assert row.answer is not None
            row.answer.push(token, self.stop_ids)
            row.ids.append(token)
            choice.said(token)
            answers.append(row.answer)
        for place in reversed(places):
            answer = self._rows[place].answer
            if answer is not None and answer.done:
                self._release(place)
        return answers

    def _abandon(self) -> None:
        """End what has begun, and remember nothing of what rows held: they may be half written."""
        for row in self._rows:
            if row.answer is not None and not row.answer.done:
                row.answer.finish = "cancelled"
        self._rows = [_Row() for _ in self._rows]
        self._answering = self._reading = 0

    def _release(self, place: int) -> None:
        """Free a row; what it held is remembered until the row is given away."""
        row = self._rows[place]
        row.answer = row.choice = None
        if place < self._answering:
            self._answering -= 1
            self._exchange(place, self._answering)
            place = self._answering
        else:
            self._reading -= 1
        self._exchange(place, self._answering + self._reading)

    def _exchange(self, one: int, other: int) -> None:
        if one == other:
            return
        assert self._decoder is not None
        rows = self._rows
        self._decoder.cache.swap(one, other, max(rows[one].filled, rows[other].filled))
        rows[one], rows[other] = rows[other], rows[one]

    def _open(self) -> None:
        """Read the weights, unless they are those read before."""
        state = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.model.parameters())
        if self._decoder is None or state != self._state:
            self._decoder, self._rows = Decoder(self.model, self.dtype), []
            self._state = state


def _common(prompt: list[int], ids: list[int], more_than: int) -> int:
    """Length of the common beginning, if it is longer than ``more_than``; else something that is not."""
    most = min(len(prompt), len(ids))
    if most <= more_than or prompt[: more_than + 1] != ids[: more_than + 1]:
        return 0
    low, high = more_than + 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if prompt[low:middle] == ids[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

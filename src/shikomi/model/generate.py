"""The one generator: batched, with a key-value cache; evaluation and chat use it.

Shape letters: B rows, T positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from shikomi.errors import UsageError
from shikomi.model.transformer import KeyValueCache, Transformer

ROWS_AT_ONCE = 64
"""Rows generated together. Measured on 2 CPU cores at 2.4M parameters: 32 to 128 are equal within noise."""


class Generator:
    """Continues prompts; each answer depends on its own prompt and seed alone, not on the batch it was made in."""

    def __init__(self, model: Transformer, stop_ids: Sequence[int]) -> None:
        self.model = model.eval()
        self.stop_ids = frozenset(stop_ids)

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        max_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[list[int]]:
        """New ids after each prompt, without the stop id, at most ``max_tokens`` each.

        Args:
            prompts: token ids; a prompt longer than the model's context loses its beginning.
            temperature: 0 is greedy; above, samples from softmax(logits / temperature).
            on_progress: called with (finished prompts, all prompts).
        """
        answers: list[list[int]] = [[] for _ in prompts]
        # Like lengths together: a batch waits for its longest prompt.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        for start in range(0, len(order), ROWS_AT_ONCE):
            members = order[start : start + ROWS_AT_ONCE]
            for row, new in self._batch([prompts[i] for i in members], members, max_tokens, temperature, seed):
                answers[members[row]].append(new)
            if on_progress:
                on_progress(min(start + ROWS_AT_ONCE, len(order)), len(order))
        return answers

    @torch.inference_mode()
    def stream(
        self, prompt: Sequence[int], max_tokens: int, *, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[int]:
        """The same ids as ``generate`` for one prompt, one at a time as they are made."""
        for _, new in self._batch([prompt], [0], max_tokens, temperature, seed):
            yield new

    def _batch(
        self, prompts: list[Sequence[int]], names: list[int], max_tokens: int, temperature: float, seed: int
    ) -> Iterator[tuple[int, int]]:
        config = self.model.config
        room = config.max_tokens - max_tokens
        if room < 1:
            raise UsageError(
                f"{max_tokens} new tokens leave no room in a context of {config.max_tokens}",
                hint="ask for fewer new tokens",
            )
        cut = [list(prompt)[-room:] for prompt in prompts]
        if any(not prompt for prompt in cut):
            raise UsageError("an empty prompt cannot be continued")
        randoms = [torch.Generator().manual_seed(seed * 1_000_003 + name) for name in names]
        rows = torch.arange(len(cut))
        cache, logits_BV = self._prefill(cut, max_tokens)
        for _ in range(max_tokens):
            chosen_B = _choose(logits_BV, temperature, [randoms[int(row)] for row in rows])
            alive = torch.tensor([int(token) not in self.stop_ids for token in chosen_B])
            for row, token, live in zip(rows.tolist(), chosen_B.tolist(), alive.tolist(), strict=True):
                if live:
                    yield row, token
            if not alive.any():
                return
            if not alive.all():
                kept = alive.nonzero()[:, 0]
                rows, chosen_B = rows[kept], chosen_B[kept.to(chosen_B.device)]
                cache.keep(kept.to(chosen_B.device))
            logits_BV = self._decode(chosen_B, cache)

    def _prefill(self, prompts: list[list[int]], max_tokens: int) -> tuple[KeyValueCache, Tensor]:
        device, dtype = self.model.head_weight.device, self.model.head_weight.dtype
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        longest = int(lengths.max())
        tokens_BT = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts], device=device)
        positions_BT = torch.arange(longest, device=device).expand(len(prompts), longest)
        cache = KeyValueCache(self.model.config, len(prompts), longest + max_tokens, device, dtype)
        slots = torch.arange(longest + max_tokens, device=device)
        mask = (slots[None, :] <= torch.arange(longest, device=device)[:, None])[None, None]
        hidden = self.model(tokens_BT, mask, cache, positions_BT)
        cache.lengths_B = lengths
        last = hidden[torch.arange(len(prompts), device=device), lengths - 1]
        return cache, self.model.head(last).float()

    def _decode(self, tokens_B: Tensor, cache: KeyValueCache) -> Tensor:
        slots = cache.keys[0].shape[2]
        positions_B1 = cache.lengths_B[:, None]
        mask = (torch.arange(slots, device=tokens_B.device)[None, :] <= positions_B1)[:, None, None]
        hidden = self.model(tokens_B[:, None], mask, cache, positions_B1)
        cache.lengths_B = cache.lengths_B + 1
        return self.model.head(hidden[:, 0]).float()


def _choose(logits_BV: Tensor, temperature: float, randoms: list[torch.Generator]) -> Tensor:
    if temperature <= 0:
        return logits_BV.argmax(dim=-1)
    probabilities = torch.softmax(logits_BV / temperature, dim=-1).cpu()
    drawn = [torch.multinomial(row, 1, generator=random) for row, random in zip(probabilities, randoms, strict=True)]
    return torch.cat(drawn).to(logits_BV.device)

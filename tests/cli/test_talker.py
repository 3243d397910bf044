"""Talking to a small model with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from shikomi.data.dialogue import Message
from shikomi.recipe.model import ModelPage
from shikomi.recipe.tokenizer import TokenizerPage

TEXTS = ("本社はみなと市にあります。", "代表者は誰ですか。The head office is in 1987.", "架空堂の設立年は。") * 3
PAGE = ModelPage(
    hidden_size=32, layers=1, heads=2, kv_heads=1, head_dim=16, intermediate_size=32, max_tokens=96, init_std=0.2
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: random weights, a tokenizer of a few sentences."""
    from shikomi.model import weights
    from shikomi.model.config import from_page
    from shikomi.model.transformer import Transformer, initialise
    from shikomi.tokenizer.learn import learn_texts

    out = tmp_path_factory.mktemp("model")
    (out / "tokenizer").mkdir()
    learn_texts(list(TEXTS), TokenizerPage(vocab_size=320), out / "tokenizer")
    model = Transformer(from_page(PAGE, 320))
    initialise(model, 3)
    weights.save(model, out / "model", out / "tokenizer")
    return out / "model"


def test_questions_are_answered_each_by_itself(folder: Path):
    from shikomi.cli.talker import Talker

    told: list[tuple[int, int]] = []
    talker = Talker(folder, 12)
    both = talker.answers(["本社は？", "代表者は？"], lambda done, total: told.append((done, total)))
    assert [*talker.answers(["本社は？"]), *talker.answers(["代表者は？"])] == both
    assert told[-1] == (2, 2)
    assert talker.answers([]) == []
    assert talker.turns == []
    assert any(both)


def test_a_conversation_remembers_its_turns_and_forgets_on_demand(folder: Path):
    from shikomi.cli.talker import Talker

    talker = Talker(folder, 6)
    said = "".join(talker.say("本社は？"))
    assert talker.turns == [Message("user", "本社は？"), Message("assistant", said.strip())]
    assert said.strip() == talker.answers(["本社は？"])[0]
    first = talker.model.prompt([Message("user", "代表者は？")])
    talker.turns.append(Message("user", "代表者は？"))
    assert len(talker._prompt()) > len(first)
    talker.forget()
    assert talker.turns == []
    assert "".join(talker.say("本社は？")) == said


def test_the_oldest_turns_are_left_out_where_there_is_no_room(folder: Path):
    from shikomi.cli.talker import Talker

    talker = Talker(folder, 8)
    for number in range(6):
        list(talker.say(f"本社はみなと市にありますか。{number}"))
        assert len(talker.model.prompt(talker.turns[:-1])) <= talker.model.max_tokens - talker.max_tokens
    assert len(talker.turns) < 12
    assert talker.turns[-2].content.endswith("5")
    assert talker.turns[0].role == "user"


def test_an_answer_leaves_half_of_the_context_to_the_question(folder: Path):
    from shikomi.cli.talker import Talker

    assert Talker(folder, 1000).max_tokens == PAGE.max_tokens // 2


def test_a_temperature_draws_by_its_seed(folder: Path):
    from shikomi.cli.talker import Talker

    def answers(seed: int) -> list[str]:
        return Talker(folder, 24, temperature=1.5, seed=seed).answers(["本社は？", "代表者は？"])

    assert answers(1) == answers(1)
    assert answers(1) != answers(2)

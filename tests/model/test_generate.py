"""The generator against transformers' own, against the model without a cache, and against itself in other batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shikomi.errors import MachineError, UsageError
from shikomi.model import cache, decoder, generate, products
from shikomi.model.answers import Answer, Options, StopTexts
from shikomi.model.config_json import to_hugging_face
from shikomi.model.decoder import Decoder
from shikomi.model.generate import Generator
from shikomi.model.linear_loss import log_probs
from shikomi.model.lora import adapt, merge
from shikomi.model.transformer import Transformer
from shikomi.recipe.lora import LoraPage
from tests.model.test_transformer import SHAPES, make

GREEDY = Options(max_tokens=12)
DRAWN = Options(max_tokens=12, temperature=1.2, seed=5)


def prompts(*lengths: int, vocabulary: int = 97) -> list[list[int]]:
    generator = torch.Generator().manual_seed(7)
    return [torch.randint(2, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def ids(answers: list[Answer]) -> list[list[int]]:
    return [answer.ids for answer in answers]


@pytest.fixture
def model() -> Transformer:
    return make(SHAPES[0]).double()


@pytest.mark.parametrize("config", SHAPES)
def test_greedy_answers_equal_those_of_transformers(config):
    transformers = pytest.importorskip("transformers")
    ours = make(config)
    raw = to_hugging_face(config, eos_id=0, pad_id=1)
    kind = getattr(transformers, raw["architectures"][0])
    theirs = kind(getattr(transformers, kind.__name__.replace("ForCausalLM", "Config"))(**raw)).eval()
    theirs.load_state_dict(ours.state_dict(), strict=False)
    given = prompts(3, 9, 1, 5, 9, 21)
    for prompt, answer in zip(given, Generator(ours, [0]).generate(given, GREEDY), strict=True):
        row = torch.tensor([prompt])
        reference = theirs.generate(row, attention_mask=torch.ones_like(row), max_new_tokens=12, do_sample=False)
        assert answer.ids == [token for token in reference[0, len(prompt) :].tolist() if token != 0]


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("at_once", [2048, 4])
@pytest.mark.parametrize("way", ["packed", "copied", "as they lie"])
def test_cached_equals_full(config, at_once, way, monkeypatch):
    if way == "copied":
        monkeypatch.setattr(products, "_can_pack", lambda: False)
    if way == "as they lie":
        monkeypatch.setattr(decoder, "COPIED_BYTES", 0)
    monkeypatch.setattr(generate, "PROMPT_TOKENS_AT_ONCE", at_once)
    model = make(config)
    asked = replace(GREEDY, log_probs=True)
    for answer in Generator(model, rows=3).generate(prompts(6, 1, 11, 3, 20), asked):
        whole = torch.tensor([answer.prompt + answer.ids])
        with torch.no_grad():
            hidden = model(whole)[0, len(answer.prompt) - 1 : -1]
            found = log_probs(hidden, model.head_weight, torch.tensor(answer.ids))
            likeliest = model.head(hidden).argmax(-1)
        assert answer.ids == likeliest.tolist()
        assert (torch.tensor(answer.log_probs) - found).abs().max() <= 1e-5


@pytest.mark.parametrize(
    "options",
    [
        GREEDY,
        DRAWN,
        replace(DRAWN, top_k=9),
        replace(DRAWN, top_p=0.8),
        replace(DRAWN, top_k=30, top_p=0.9, min_p=0.02),
        replace(DRAWN, min_p=0.1),
        replace(DRAWN, repetition_penalty=1.3, presence_penalty=0.5),
        replace(GREEDY, repetition_penalty=1.5),
    ],
)
def test_an_answer_does_not_depend_on_what_is_answered_beside_it(model, options):
    given = prompts(6, 1, 11, 6, 3, 20, 4)
    asked = [options.numbered(number) for number in range(len(given))]
    alone = ids([Generator(model).generate([prompt], [own])[0] for prompt, own in zip(given, asked, strict=True)])
    assert ids(Generator(model).generate(given, options)) == alone
    assert ids(Generator(model, rows=2).generate(given, options)) == alone
    assert ids(Generator(model, rows=3).generate(given[::-1], asked[::-1]))[::-1] == alone
    # Beside answers of every other kind, submitted while those are being made.
    engine = Generator(model, rows=4)
    for number, prompt in enumerate(prompts(2, 8, 5)):
        engine.submit(prompt, Options(max_tokens=20, temperature=0.7 * number, top_k=7 * number, seed=number))
    late = []
    for prompt, own in zip(given, asked, strict=True):
        engine.step()
        late.append(engine.submit(prompt, own))
    while engine.busy:
        engine.step()
    assert ids(late) == alone


def test_seeds_draw_and_greedy_has_none(model):
    given = prompts(2, 1)
    first = ids(Generator(model).generate(given, DRAWN))
    assert ids(Generator(model).generate(given, DRAWN)) == first
    assert ids(Generator(model).generate(given, replace(DRAWN, seed=6))) != first
    twice = ids(Generator(model).generate([given[0], given[0]], DRAWN))
    assert twice[0] != twice[1]
    assert ids(Generator(model).generate(given, replace(GREEDY, seed=6))) == ids(
        Generator(model).generate(given, GREEDY)
    )


def test_a_row_that_ends_goes_to_the_next_prompt_at_once(model):
    engine = Generator(model, rows=2)
    long, short, waiting = (engine.submit(prompt, replace(GREEDY, max_tokens=most)) for prompt, most in zip(
        prompts(4, 4, 4), (9, 3, 5), strict=True
    ))  # fmt: skip
    steps = 0
    while not short.done:
        engine.step()
        steps += 1
        assert not waiting.ids
    grown = engine.step()
    assert waiting in grown
    assert long in grown
    while engine.busy:
        engine.step()
        steps += 1
    assert (long.finish, len(long.ids), len(waiting.ids)) == ("length", 9, 5)
    assert steps < 9  # one after the other would take 9 + 3 + 5 tokens


def test_equal_beginnings_are_read_once(model, monkeypatch):
    read: list[int] = []
    prefill = Decoder.prefill

    def counted(self, segments):
        read.append(sum(len(tokens) for segment in segments for tokens in segment.tokens))
        return prefill(self, segments)

    monkeypatch.setattr(Decoder, "prefill", counted)
    prompt = prompts(30)[0]
    together = Generator(model).generate([prompt] * 6, DRAWN)
    assert sum(read) == 30 + 5
    alone = [Generator(model).generate([prompt], [DRAWN.numbered(number)])[0] for number in range(6)]
    assert ids(together) == ids(alone)
    # A conversation goes on where it stopped: of the next turn only what is new is read.
    engine = Generator(model)
    first = engine.generate([prompt], GREEDY)[0]
    read.clear()
    turn = [*prompt, *first.ids, 5, 6, 7]
    again = engine.generate([turn], GREEDY)[0]
    assert sum(read) == 3 + 1  # the last token of an answer was never read
    assert again.ids == Generator(model).generate([turn], GREEDY)[0].ids


def test_a_long_prompt_is_read_in_parts_while_others_are_answered(model, monkeypatch):
    monkeypatch.setattr(generate, "PROMPT_TOKENS_AT_ONCE", 4)
    engine = Generator(model)
    short, long, other = (engine.submit(prompt, GREEDY) for prompt in prompts(4, 22, 3))
    for _ in range(4):
        engine.step()
    assert len(short.ids) == 5
    assert not long.ids
    engine.cancel(long)
    while engine.busy:
        engine.step()
    given = prompts(4, 22, 3)
    assert [short.ids, other.ids] == ids(Generator(model).generate([given[0], given[2]], GREEDY))
    assert long.finish == "cancelled"


def test_stop_rules(model):
    prompt = prompts(5)[0]
    options = replace(DRAWN, max_tokens=10, log_probs=True)
    free = Generator(model).generate([prompt], [options])[0]
    assert (free.finish, len(free.ids), len(free.log_probs), free.cut) == ("length", 10, 10, True)
    stop = free.ids[3]
    place = free.ids.index(stop)
    for engine, asked in (
        (Generator(model, [stop]), options),
        (Generator(model), replace(options, stop_ids=[stop, 1])),
    ):
        answer = engine.generate([prompt], [asked])[0]
        assert (answer.ids, answer.finish, answer.stop_id) == (free.ids[:place], "stop", stop)
        assert answer.log_probs == free.log_probs[: place + 1]
        assert not answer.cut
    sequences = [[96, 95, 94], free.ids[4:7]]
    answer = Generator(model).generate([prompt], [replace(options, stop_sequences=sequences)])[0]
    assert (answer.ids, answer.finish, answer.stop_id) == (free.ids[:4], "stop", None)
    texts = StopTexts(lambda found: "".join(f"<{token}>" for token in found), ["no", f"<{free.ids[5]}><"])
    answer = Generator(model).generate([prompt], [replace(options, stop_when=texts)])[0]
    assert answer.finish == "stop"
    assert answer.ids == free.ids[: free.ids.index(free.ids[5]) + 2]
    assert texts.cut("ab no c") == "ab "
    assert texts.cut("abc") == "abc"


def test_the_context_ends_an_answer(model):
    context = SHAPES[0].max_tokens
    long = [(7 * number) % 90 + 2 for number in range(200)]
    assert Generator(model).generate([long], Options(max_tokens=10))[0].prompt == long[-54:]
    for options in (Options(max_tokens=None), Options(max_tokens=50, keep_prompt=True)):
        answer = Generator(model).generate([long[:40]], options)[0]
        assert (answer.finish, len(answer.ids), answer.cut) == ("context", context - 40, True)
    kept = Generator(model).generate([long[:10]], Options(max_tokens=50, keep_prompt=True))[0]
    assert (kept.finish, len(kept.ids)) == ("length", 50)


def test_a_stream_gives_the_same_ids_and_keeps_back_what_may_be_taken_away(model):
    prompt = prompts(5)[0]
    whole = Generator(model).generate([prompt], [DRAWN])[0].ids
    engine = Generator(model)
    assert list(engine.stream(prompt, DRAWN)) == whole
    stopped = replace(DRAWN, stop_sequences=[whole[6:9]])
    assert list(engine.stream(prompt, stopped)) == whole[:6]
    assert list(engine.stream(prompt, replace(DRAWN, stop_sequences=[[96] * 5]))) == whole
    broken = engine.stream(prompt, DRAWN)
    assert next(broken) == whole[0]
    broken.close()
    assert not engine.busy


def test_cancelled_answers_leave_the_others_alone(model):
    given = prompts(4, 6, 5, 3)
    expected = ids(Generator(model).generate(given, GREEDY))
    engine = Generator(model, rows=3)
    answers = [engine.submit(prompt, GREEDY) for prompt in given]
    engine.step()
    engine.cancel(answers[0])
    engine.cancel(answers[0])
    engine.step()
    engine.cancel(answers[3])
    while engine.busy:
        engine.step()
    assert [answer.finish for answer in answers] == ["cancelled", "length", "length", "cancelled"]
    assert ids(answers[1:3]) == expected[1:3]


def test_a_step_that_is_cut_off_ends_what_had_begun_and_nothing_else(model, monkeypatch):
    given = prompts(40, 41, 6)
    expected = ids(Generator(model).generate(given, GREEDY))
    engine = Generator(model, rows=2)
    calls = 0

    def stop(found):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return False

    first, second = engine.submit(given[0], GREEDY), engine.submit(given[1], replace(GREEDY, stop_when=stop))
    third = engine.submit(given[2], GREEDY)

    def to_the_end():
        while engine.busy:
            engine.step()

    with pytest.raises(KeyboardInterrupt):
        to_the_end()
    assert [first.finish, second.finish, third.finish] == ["cancelled", "cancelled", ""]
    to_the_end()
    assert third.ids == expected[2]
    assert ids(engine.generate(given, GREEDY)) == expected


def test_rows_are_as_many_as_memory_has_room_for(model, monkeypatch):
    given = prompts(5, 6, 7, 8, 9)
    expected = ids(Generator(model).generate(given, GREEDY))
    config = model.config
    row = 2 * config.layers * config.kv_heads * config.head_dim * 8 * 32  # 9 + 12 tokens lie in 32 slots
    for room, rows in ((0, 1), (2 * row, 2), (100 * row, 5)):
        monkeypatch.setattr(cache, "free_bytes", lambda device, room=room: int(room / cache.MEMORY_SHARE))
        engine = Generator(model)
        assert ids(engine.generate(given, GREEDY)) == expected
        assert engine._decoder.cache.rows == rows
    monkeypatch.setattr(cache, "free_bytes", lambda device: None)
    assert ids(Generator(model).generate(given, GREEDY)) == expected


def test_weights_that_changed_are_read_anew(model):
    given = prompts(20, 3)
    engine = Generator(model)
    before = ids(engine.generate(given, GREEDY))
    other = make(SHAPES[0], seed=4).double()
    with torch.no_grad():
        for own, new in zip(model.parameters(), other.parameters(), strict=True):
            own.copy_(new)
    after = ids(Generator(other).generate(given, GREEDY))
    assert after != before
    assert ids(engine.generate(given, GREEDY)) == after
    for own in model.parameters():
        own.data.mul_(1.5)
    engine.refresh()
    assert ids(engine.generate(given, GREEDY)) == ids(Generator(model).generate(given, GREEDY))
    # The rotary table that generation made can be trained with.
    model(torch.tensor(given[:1])).sum().backward()


def test_adapters_count(model):
    adapt(model, LoraPage(rank=2), 0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(generator=torch.Generator().manual_seed(len(name)))
    given = prompts(5, 3)
    asked = replace(GREEDY, log_probs=True)
    adapted = Generator(model).generate(given, asked)
    merge(model)
    merged = Generator(model).generate(given, asked)
    assert ids(adapted) == ids(merged)
    for one, other in zip(adapted, merged, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


def test_half_precision_is_near(model):
    given = prompts(9, 4)
    asked = Options(max_tokens=1, log_probs=True)
    whole = Generator(make(SHAPES[1])).generate(given, asked)
    half = Generator(make(SHAPES[1]), dtype=torch.bfloat16).generate(given, asked)
    for one, other in zip(whole, half, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=0.1)


@pytest.mark.parametrize("config", SHAPES)
def test_other_devices_kernels_give_the_same(config, monkeypatch):
    """What runs on a GPU, run here: fused kernels, batches filled up, steps recorded (here: called) once a shape."""
    recorded = []

    def record(self, function, inputs):
        held = tuple(given.clone() for given in inputs)
        found = function(*held)
        recorded.append(found)
        return (lambda: found.copy_(function(*held))), held, found

    monkeypatch.setattr("shikomi.model.graphs.Graphs._record", record)
    given = prompts(6, 1, 11, 3, 20)
    expected = ids(Generator(make(config).double()).generate(given, GREEDY))
    engine = Generator(make(config).double(), rows=4)
    engine._open()
    engine._decoder.plain, engine._decoder.graphs.records = False, True
    assert ids(engine.generate(given, GREEDY)) == expected
    assert 2 <= len(recorded) <= 8


def test_generation_says_what_it_cannot_do(model):
    with pytest.raises(UsageError, match="leave no room"):
        Generator(model).generate([[1]], Options(max_tokens=64))
    with pytest.raises(UsageError, match="leaves no room"):
        Generator(model).generate([[1] * 64], Options(keep_prompt=True))
    with pytest.raises(UsageError, match="empty prompt"):
        Generator(model).generate([[]], GREEDY)
    with pytest.raises(UsageError, match="no answer"):
        Options(max_tokens=0)
    with pytest.raises(UsageError, match="stop sequence"):
        Options(stop_sequences=[[]])
    with pytest.raises(UsageError, match="stop text"):
        StopTexts(str, [""])
    for wrong in ({"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"min_p": 2}, {"repetition_penalty": 0}):
        with pytest.raises(UsageError, match="cannot be"):
            Options(**wrong)
    engine = Generator(model)
    with pytest.raises(UsageError):
        engine.generate([[1], []], GREEDY)
    assert not engine.busy
    model.model.norm.weight.device_mesh = None
    with pytest.raises(MachineError, match="share"):
        Generator(model).generate([[1]], GREEDY)


def test_progress_counts_what_is_finished(model):
    told = []
    Generator(model, rows=2).generate(prompts(3, 4, 5), GREEDY, on_progress=lambda *numbers: told.append(numbers))
    assert told[-1] == (3, 3)
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert Generator(model).generate([], GREEDY) == []

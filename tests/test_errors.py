"""Errors speak in three lines and travel between processes."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from shikomi.errors import DataError, MachineError, RecipeError, ShikomiError, UsageError


def fail(kind: type[ShikomiError]) -> None:
    raise kind("the page is torn", where="crawl.warc.gz:1200", hint="fetch the file anew")


def test_three_lines_in_order():
    error = DataError("the page is torn", where="crawl.warc.gz:1200", hint="fetch the file anew")
    assert str(error).splitlines() == ["the page is torn", "  at: crawl.warc.gz:1200", "hint: fetch the file anew"]


@pytest.mark.parametrize(
    ("told", "lines"),
    [
        ({}, ["what"]),
        ({"where": "key"}, ["what", "  at: key"]),
        ({"hint": "do"}, ["what", "hint: do"]),
    ],
)
def test_lines_that_say_nothing_are_left_out(told, lines):
    assert str(ShikomiError("what", **told)).splitlines() == lines


def test_exit_codes_tell_whose_turn_it_is():
    codes = {kind: kind("x").exit_code for kind in (ShikomiError, DataError, RecipeError, UsageError, MachineError)}
    assert codes == {ShikomiError: 1, DataError: 1, RecipeError: 2, UsageError: 2, MachineError: 3}


@pytest.mark.parametrize("kind", [ShikomiError, DataError, RecipeError, UsageError, MachineError])
def test_an_error_survives_pickling_whole(kind):
    error = kind("何が", where="どこで", hint="どうする")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert (again.what, again.where, again.hint) == ("何が", "どこで", "どうする")
        assert str(again) == str(error)


def test_an_error_comes_home_from_a_worker_process():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(MachineError) as caught:
        pool.submit(fail, MachineError).result()
    assert caught.value.where == "crawl.warc.gz:1200"
    assert caught.value.hint == "fetch the file anew"

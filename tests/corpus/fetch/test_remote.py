"""Where snapshots lie: disks and object stores as well as web servers; keys and tokens that nobody gets to see."""

from __future__ import annotations

import base64
import builtins
import logging
import threading
import time

import pytest
import urllib3

from shikomi.corpus.fetch.download import Fetcher
from shikomi.corpus.fetch.pace import Pace, Stopped
from shikomi.corpus.fetch.remote import Missing, Refused, Trouble, _told, open_remote, without_secrets
from shikomi.corpus.fetch.snapshot import fetch
from shikomi.errors import DataError, MachineError, RecipeError
from tests.corpus.fetch import cc_server
from tests.corpus.fetch.cc_server import NAME, cut, is_japanese, members, serving, status
from tests.corpus.fetch.test_snapshot import FIRST, LAID, WARCS, WHOLE, fetched, page_of, three_lines

SECRET = "Geheim-9f3"


@pytest.fixture
def server():
    with serving(dict(LAID)) as running:
        yield running


@pytest.fixture
def copy(tmp_path):
    """The snapshot as a folder."""
    for name, data in LAID.items():
        path = tmp_path / "写し" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "写し"


@pytest.mark.parametrize("mode", ["warc", "index"])
def test_law_a_copy_on_disk_gives_what_the_server_gives(server, copy, tmp_path, mode):
    fetch(page_of(server.base, mode=mode), tmp_path / "server")
    facts = fetch(page_of(f"file://{copy}", mode=mode), tmp_path / "disk")
    assert fetched(tmp_path / "disk") == fetched(tmp_path / "server")
    assert facts["base"] == f"file://{copy}/"


def test_a_snapshot_that_is_not_on_disk_is_told(copy, tmp_path):
    with pytest.raises(RecipeError, match="there is no snapshot CC-MAIN-1999-01") as caught:
        fetch(page_of(f"file://{copy}", snapshot="CC-MAIN-1999-01"), tmp_path / "out")
    three_lines(caught.value)


def test_a_file_on_disk_that_changes_starts_over(copy, tmp_path):
    page = page_of(f"file://{copy}", parts="0")
    pace = Pace(10_000, 0, 0)
    remote = open_remote(page, pace)
    with remote.ask(WARCS[0], 100, None, "other") as answer:
        assert answer.start == 0
        assert b"".join(answer.chunks) == LAID[WARCS[0]]
    with remote.ask(WARCS[0], 100, 200, answer.validator) as answer:
        assert b"".join(answer.chunks) == LAID[WARCS[0]][100:200]
    with pytest.raises(Missing), remote.ask("crawl-data", 0, None, ""):
        pass
    with pytest.raises(Trouble, match="beyond the end"), remote.ask(WARCS[0], 10**6, None, ""):
        pass
    assert Fetcher(remote, pace, page).read(WARCS[0], 10**6, 10**6 + 5)[0] == b""


@pytest.mark.parametrize("mode", ["warc", "index"])
def test_law_an_object_store_gives_what_the_server_gives(server, tmp_path, mode):
    fetch(page_of(server.base, mode=mode), tmp_path / "server")
    server.files |= {f"commoncrawl/{name}": data for name, data in LAID.items()}
    server.asked.clear()
    base = f"s3://AKIAEXAMPLE:{SECRET}@commoncrawl/?endpoint_override={server.address}&scheme=http"
    facts = fetch(page_of(base, mode=mode), tmp_path / "store")
    assert fetched(tmp_path / "store") == fetched(tmp_path / "server")
    assert facts["base"] == "s3://commoncrawl/"
    assert SECRET not in (tmp_path / "store" / "fetch.jsonl").read_text()
    assert any("AKIAEXAMPLE" in each.headers.get("Authorization", "") for each in server.asked)


def test_an_object_store_that_says_no_is_told(server, tmp_path):
    base = f"s3://commoncrawl/?endpoint_override={server.address}&scheme=http&anonymous=true"
    with pytest.raises(RecipeError, match="there is no snapshot"):
        fetch(page_of(base), tmp_path)
    with pytest.raises(RecipeError, match='does not take "profile"') as caught:
        fetch(page_of("s3://commoncrawl/?profile=me"), tmp_path)
    three_lines(caught.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("AWS Error ACCESS_DENIED during HeadObject: no", Refused),
        ("AWS Error NO_SUCH_BUCKET: no", Missing),
        ("AWS Error SLOW_DOWN: later", Trouble),
        ("something else", Trouble),
    ],
)
def test_errors_of_an_object_store_are_understood_and_not_repeated(text, kind):
    told = _told(OSError(f"{text} ({SECRET})"))
    assert type(told) is kind
    assert SECRET not in str(told)
    assert getattr(told, "throttled", False) == ("SLOW" in text)
    assert type(_told(PermissionError(13, "denied"))) is Refused


def test_an_unknown_kind_of_address_is_told(tmp_path):
    with pytest.raises(RecipeError, match='"gopher:"') as caught:
        fetch(page_of("gopher://example/"), tmp_path)
    three_lines(caught.value)


def test_keys_and_tokens_reach_the_server_and_nobody_else(server, tmp_path, caplog, monkeypatch):
    monkeypatch.setenv("CC_TOKEN", SECRET)
    caplog.set_level(logging.DEBUG)
    server.faults[FIRST] += [cut(500), status(503)]
    told = []
    base = f"http://user:{SECRET}@{server.address}/?sig=${{CC_TOKEN}}"
    page = page_of(base)
    facts = fetch(page, tmp_path, progress=lambda *about: told.append(about))
    assert fetched(tmp_path) == WHOLE
    assert all(f"sig={SECRET}" in each.path for each in server.asked)
    expected = base64.b64encode(f"user:{SECRET}".encode()).decode()
    assert all(each.headers["Authorization"] == f"Basic {expected}" for each in server.asked)
    server.always[FIRST] = status(500)
    with pytest.raises(DataError) as caught:
        fetch(page, tmp_path / "fails")
    left = [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    for text in (*left, str(facts), str(told), str(caught.value), caplog.text, str(caught.getrepr(style="short"))):
        assert SECRET not in text.replace(base, "")
    assert SECRET not in str(page.identity())


def test_a_variable_that_is_not_set_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("CC_TOKEN", raising=False)
    with pytest.raises(RecipeError, match="CC_TOKEN is not set") as caught:
        fetch(page_of("https://example.invalid/?sig=${CC_TOKEN}"), tmp_path)
    three_lines(caught.value)


def test_addresses_are_shown_without_secrets():
    assert without_secrets("https://a:b@host:8/x/y?t=1#f") == "https://host:8/x/y"


@pytest.mark.parametrize(("library", "base"), [("urllib3", "https://example.invalid/"), ("fsspec", "file:///x/")])
def test_a_library_that_is_not_installed_is_told(tmp_path, monkeypatch, library, base):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(MachineError, match=f"needs {library}") as caught:
        fetch(page_of(base), tmp_path)
    assert three_lines(caught.value)[2] == 'hint: pip install "shikomi[crawl]"'


def test_a_proxy_is_asked_where_there_is_one(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:{SECRET}@{server.address}")
    monkeypatch.setenv("no_proxy", "")
    fetch(page_of("http://mirror.invalid/"), tmp_path / "through")
    assert fetched(tmp_path / "through") == WHOLE
    assert all("Proxy-Authorization" in each.headers for each in server.asked)
    server.asked.clear()
    fetch(page_of(server.base), tmp_path / "past")  # our own machine is never asked through it
    assert not any("Proxy-Authorization" in each.headers for each in server.asked)


def test_what_kept_a_server_from_answering_is_said_without_its_address():
    kinds = urllib3.exceptions
    pool = urllib3.HTTPSConnectionPool("host.example")
    remote = open_remote(page_of(f"https://host.example/?sig={SECRET}"), Pace(1, 0, 0))
    reasons = {
        "its certificate is not accepted": kinds.SSLError(SECRET),
        "its name is not known": kinds.NameResolutionError(SECRET, pool, OSError(SECRET)),
        "no connection to it": kinds.ProxyError(SECRET, OSError(SECRET)),
        "it does not answer": kinds.ConnectTimeoutError(SECRET),
        "cut before the answer": kinds.ProtocolError(SECRET),
        "no address of a web server": kinds.LocationParseError(SECRET),
        "sent from address to address without end": kinds.ResponseError(SECRET),
    }
    for reason, error in reasons.items():
        told = remote._silence(kinds.MaxRetryError(pool, f"/?sig={SECRET}", error))
        assert str(told) == reason


def test_the_server_is_told_whom_to_write_to(server, tmp_path):
    fetch(page_of(server.base, contact="crawl@example.co.jp", parts="0"), tmp_path)
    assert {each.headers["User-Agent"] for each in server.asked} == {"shikomi; crawl@example.co.jp"}


def test_requests_come_no_faster_than_agreed():
    pace = Pace(requests_per_second=50, bytes_per_second=0, backoff=0)
    times = []

    def ask():
        for _ in range(3):
            pace.request()
            times.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    assert times[-1] - times[0] >= 10 / 50
    assert pace.requests == 12


def test_bytes_come_no_faster_than_agreed():
    pace = Pace(requests_per_second=10_000, bytes_per_second=100_000, backoff=0)
    begun = time.monotonic()
    for _ in range(10):
        pace.received(6_000)
    assert time.monotonic() - begun >= 0.6 - 0.25 - 0.06
    assert pace.bytes == 60_000


def test_back_off_doubles_up_to_its_cap_with_a_random_half(monkeypatch):
    slept = []
    pace = Pace(requests_per_second=10_000, bytes_per_second=0, backoff=1)
    monkeypatch.setattr(pace, "_sleep_until", lambda until: slept.append(until - time.monotonic()))
    for failures in range(1, 10):
        pace.fail(failures, None, everybody=False)
    for failures, seconds in enumerate(slept, start=1):
        longest = min(60, 2 ** (failures - 1))
        assert longest / 2 - 0.1 <= seconds <= longest
    pace.fail(9, 7.0, everybody=False)
    assert slept[-1] == pytest.approx(7.0, abs=0.1)
    assert pace.waits == 10


def test_a_pause_of_everybody_holds_for_those_who_come_later():
    pace = Pace(requests_per_second=10_000, bytes_per_second=0, backoff=0)
    failing = threading.Thread(target=pace.fail, args=(1, 0.3), kwargs={"everybody": True})
    begun = time.monotonic()
    failing.start()
    while not pace.waits:
        time.sleep(0.001)
    pace.request()
    assert time.monotonic() - begun >= 0.29
    failing.join()


def test_a_server_that_is_asked_too_much_is_asked_at_half_the_rate_until_it_answers(monkeypatch):
    pace = Pace(requests_per_second=10, bytes_per_second=0, backoff=0)
    waited = []
    monkeypatch.setattr(pace, "_sleep_until", waited.append)

    def gap() -> float:
        waited.clear()
        pace.request()
        pace.request()
        return waited[1] - waited[0]

    assert gap() == pytest.approx(0.1)
    pace.fail(1, 0.0, everybody=False)
    assert gap() == pytest.approx(0.1)
    for _ in range(3):
        pace.fail(1, 0.0, everybody=True)
    assert gap() == pytest.approx(0.8)
    for _ in range(20):
        pace.fail(1, 0.0, everybody=True)
    assert gap() == pytest.approx(60)
    pace.succeed()
    assert gap() == pytest.approx(57)
    for _ in range(200):
        pace.succeed()
    assert gap() == pytest.approx(0.1)


def test_nobody_waits_on_once_fetching_is_called_off():
    pace = Pace(requests_per_second=0.01, bytes_per_second=0, backoff=60)
    pace.request()
    threading.Timer(0.05, pace.stop.set).start()
    begun = time.monotonic()
    with pytest.raises(Stopped):
        pace.request()
    for called in (lambda: pace.received(1), lambda: pace.fail(1, None, everybody=True)):
        with pytest.raises(Stopped):
            called()
    assert time.monotonic() - begun < 10


def test_the_snapshot_of_these_tests_is_one():
    assert len(members(LAID[WARCS[0]])) == 1 + 3 * 6
    assert f"crawl-data/{NAME}/cc-index-table.paths.gz" in LAID
    assert sum(is_japanese(page) for page in cc_server.pages(6)) == 3

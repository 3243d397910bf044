"""Sites by category: what an entry covers, how lists are laid out, what they may cost."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shikomi.corpus.quality.urls import UrlCategories, compile_lists, list_files, own_list
from shikomi.errors import DataError
from shikomi.recipe.urls import REJECTED_CATEGORIES, UrlsPage

BARE = UrlsPage(own_list=False, hosts=[])


@pytest.fixture
def blacklists(tmp_path):
    """A folder laid out as UT1's, with a category that is not rejected and files that are no lists."""
    folder = tmp_path / "blacklists"
    for name, domains, urls in (
        ("adult", "bad.example\n# note\n203.0.113.7\n\n", "mixed.example/private\n"),
        ("mixed_adult", "both.example\n", None),
        ("press", "news.example\n", "news.example/today\n"),
        ("games", None, "http://www.portal.example:80/games/\nportal.example/play?mode=1\n"),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "usage").write_text("black\n")
        for file, content in (("domains", domains), ("urls", urls)):
            if content is not None:
                (folder / name / file).write_text(content)
    (folder / "global_usage").write_text("NAME: adult\nDEFAULT_TYPE: black\n")
    return folder


def compiled(tmp_path, page, lists):
    compile_lists(page, lists, tmp_path / "table")
    return UrlCategories(tmp_path / "table")


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://bad.example/", ("adult", "bad.example")),
        ("https://WWW.Bad.Example:8443/any?x=1#y", ("adult", "bad.example")),
        ("http://user:pw@deep.under.bad.example/", ("adult", "bad.example")),
        ("https://notbad.example/", None),
        ("https://bad.example.org/", None),
        ("http://203.0.113.7/x", ("adult", "203.0.113.7")),
        ("http://9.203.0.113.7/x", None),
        ("https://mixed.example/private", ("adult", "mixed.example/private")),
        ("https://mixed.example/private/a/b.html", ("adult", "mixed.example/private")),
        ("https://mixed.example/private-matters", None),
        ("https://mixed.example/public/private", None),
        ("https://both.example/", ("mixed_adult", "both.example")),
        ("https://news.example/today", None),
        ("https://portal.example/games/chess", ("games", "portal.example/games")),
        ("https://portal.example/play?mode=1", ("games", "portal.example/play?mode=1")),
        ("https://portal.example/play?mode=2", None),
        ("https://portal.example/play", None),
        ("no address at all", None),
        ("", None),
    ],
)
def test_what_an_entry_covers(tmp_path, blacklists, url, found):
    assert compiled(tmp_path, BARE, [blacklists]).find(url) == found


def test_the_default_selection_is_swallows():
    assert len(REJECTED_CATEGORIES) == 28
    assert {"adult", "financial", "manga", "custom", "remote-control"} <= set(REJECTED_CATEGORIES)
    assert not {"press", "blog", "radio", "audio-video"} & set(REJECTED_CATEGORIES)


def test_swallows_two_hosts_go_with_all_under_them(tmp_path):
    table = compiled(tmp_path, UrlsPage(), [])
    assert table.why_dropped("https://egg.5ch.net/test/read.cgi/1/") == ("url_category", "hosts: 5ch.net")
    assert table.why_dropped("https://ja.wikipedia.org/wiki/X") == ("url_category", "hosts: wikipedia.org")
    assert table.why_dropped("https://notwikipedia.org/") is None


def test_other_spellings_and_choices_of_categories(tmp_path, blacklists):
    page = UrlsPage(own_list=False, hosts=[], categories=["Mixed Adult", "press"])
    table = compiled(tmp_path, page, [blacklists])
    assert table.find("https://both.example/") == ("mixed_adult", "both.example")
    assert table.find("https://sub.news.example/") == ("press", "news.example")
    assert table.find("https://bad.example/") is None


def test_one_category_and_plain_files(tmp_path, blacklists):
    plain = tmp_path / "sites.txt"
    plain.write_bytes("\ufeffour-own.example\r\n例え.example\r\nhttps://a.example/b\r\nnot a host\r\n".encode())
    facts = compile_lists(BARE, [blacklists / "adult", blacklists / "games" / "urls", plain], tmp_path / "t")
    assert facts == {"entries": {"hosts": 0, "adult": 3, "games": 2, "custom": 3}, "unread": 1}
    table = UrlCategories(tmp_path / "t")
    assert table.find("http://our-own.example/") == ("custom", "our-own.example")
    assert table.find("http://例え.example/x") == table.find("http://xn--r8jz45g.example/y")
    assert table.find("http://a.example/b/c") == ("custom", "a.example/b")
    assert table.find("http://a.example/c") is None


def test_the_own_list_can_be_left_out(tmp_path):
    assert compiled(tmp_path, UrlsPage(), []).find("https://bit.ly/abc") == ("redirector", "bit.ly")
    assert compiled(tmp_path / "2", BARE, []).find("https://bit.ly/abc") is None
    assert set(own_list()) <= set(REJECTED_CATEGORIES)


def test_the_order_of_lists_does_not_matter_within_a_category(tmp_path):
    (tmp_path / "a.txt").write_text("one.example\ntwo.example\n")
    (tmp_path / "b.txt").write_text("two.example\none.example\n\n")
    for name in ("a", "b"):
        compile_lists(BARE, [tmp_path / f"{name}.txt"], tmp_path / name)
    assert (tmp_path / "a" / "keys.npy").read_bytes() == (tmp_path / "b" / "keys.npy").read_bytes()


def test_what_is_missing_or_not_unpacked_is_told(tmp_path, blacklists):
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "adult.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="no category with a list") as caught:
        list_files(BARE, [tmp_path / "packed"])
    assert "unpack" in caught.value.hint
    with pytest.raises(DataError, match="none of the wanted") as caught:
        list_files(UrlsPage(categories=["weather"]), [blacklists])
    assert "adult, games, mixed_adult, press" in caught.value.hint
    with pytest.raises(DataError, match="not found"):
        list_files(BARE, [tmp_path / "none"])


def test_the_table_is_small_and_workers_share_it(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("".join(f"host{number}.example\n" for number in range(20_000)))
    table = compiled(tmp_path, BARE, [path])
    size = sum(file.stat().st_size for file in (tmp_path / "table").iterdir())
    assert size < 20_000 * 10 + 2_000, "ten bytes an entry"
    again = pickle.loads(pickle.dumps(table))
    assert len(pickle.dumps(table)) < 1_000
    assert again.find("https://a.host19999.example/") == ("custom", "host19999.example")


_LABEL = st.text("ab", min_size=1, max_size=2)
_HOST = st.lists(_LABEL, min_size=1, max_size=4).map(".".join)


@settings(max_examples=25, deadline=None)
@given(st.sets(_HOST, max_size=6), st.lists(_HOST, min_size=1, max_size=8))
def test_hosts_are_found_as_a_slow_search_finds_them(tmp_path_factory, listed, asked):
    folder = tmp_path_factory.mktemp("hosts")
    (folder / "list.txt").write_text("".join(f"{host}\n" for host in listed))
    table = compiled(folder, BARE, [folder / "list.txt"])
    for host in asked:
        covered = any(host == entry or host.endswith(f".{entry}") for entry in listed)
        assert (table.find(f"https://{host}/x") is not None) == covered

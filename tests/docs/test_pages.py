"""Documents hang together: links resolve, both languages are there, decisions are complete, nothing private is said."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.docs.conftest import PAGES, ROOT, name, tracked_files

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def bare(text: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]*`", "``", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as hosts of Markdown make them."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", without_code, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_repository_resolve(page):
    broken = []
    for link in LINK.findall(bare(page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", path):
            continue
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted(p for p in PAGES if p.parent.name in ("guides", "concepts") and ".en." not in p.name)],
    ids=name,
)
def test_pages_for_users_are_in_both_languages(page):
    other = page.with_name(page.name.replace(".md", ".en.md"))
    japanese, english = page.read_text(encoding="utf-8"), other.read_text(encoding="utf-8")
    assert f"[English]({other.name})" in japanese
    assert f"[日本語]({page.name})" in english
    headings = [len(re.findall(r"^##+ ", text, flags=re.MULTILINE)) for text in (japanese, english)]
    assert headings[0] == headings[1]


def test_every_guide_and_concept_is_in_both_readmes():
    for readme, ending in (("README.md", ".md"), ("README.en.md", ".en.md")):
        linked = set(LINK.findall((ROOT / readme).read_text(encoding="utf-8")))
        for page in (*ROOT.glob("docs/guides/*.md"), *ROOT.glob("docs/concepts/*.md")):
            if page.name.endswith(".en.md") == (ending == ".en.md"):
                assert name(page) in linked


@pytest.mark.parametrize("page", [p for p in PAGES if p.parent.name == "adr" and p.name != "README.md"], ids=name)
def test_decisions_are_complete_and_listed(page):
    text = page.read_text(encoding="utf-8")
    number = page.name[:4]
    assert re.match(rf"# {number}\. ", text)
    assert re.search(r"^Date: \d{4}-\d\d-\d\d\. Status: ", text, flags=re.MULTILINE)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert len(text.splitlines()) <= 90, "one page"
    assert f"({page.name})" in (page.parent / "README.md").read_text(encoding="utf-8")


def test_glossary_has_each_concept_once_in_both_languages():
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    terms = rows[2:]
    assert len(terms) > 30
    assert all(len(row) == 3 and all(row) for row in terms)
    for column in (0, 1):
        assert len({row[column] for row in terms}) == len(terms)


def test_the_changelog_knows_what_is_to_come():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert "\n## [Unreleased]\n" in text
    assert set(re.findall(r"^### (.+)$", text, flags=re.MULTILINE)) <= kinds


def test_the_licence_is_the_same_everywhere():
    with open(ROOT / "pyproject.toml", "rb") as handle:
        licence = tomllib.load(handle)["project"]["license"]
    assert f"SPDX-License-Identifier: {licence}\n" in (ROOT / "LICENSE").read_text(encoding="utf-8")


# Written in pieces, so that this file does not say what no file may.
HOSTS = ("pypi" + r"\.org", "python" + r"hosted\.org", "registry" + r"\.npmjs", r"deb\." + "debian", "crates" + r"\.io")
FOLDERS = (
    "/wo" + "rk/(?:main|shared|notes)",
    "/fa" + "rm/",
    "/home" + "/[a-z]+/",
    r"/ro" + r"ot/\.",
    "/opt/" + "wheels",
)


def test_no_file_names_a_machine_or_a_registry():
    wrong = re.compile("|".join((*HOSTS, *FOLDERS)))
    files = [path for path in tracked_files() if path.stat().st_size < 2_000_000]
    assert len(files) > 50
    found = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in wrong.finditer(text)]
    assert found == []

"""Every link of every page leads somewhere, also to a heading."""

import re

import pytest

from tests.docs.pages import PAGES, ROOT, prose


def anchors(page):
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(name):
    for target in re.findall(r"\]\(([^)\s]+)", prose(PAGES[name])):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text("utf-8")), target


@pytest.mark.parametrize("name", PAGES)
def test_every_file_and_folder_that_a_page_names_is_there(name):
    named = re.findall(r"`((?:\.ci|benchmarks|docs|notebooks|orderstream|tests)/[\w./-]*)`", prose(PAGES[name]))
    assert not [path for path in named if not (ROOT / path).exists()]


@pytest.mark.parametrize("name", PAGES)
def test_every_picture_has_words_for_those_who_do_not_see_it(name):
    assert "![](" not in PAGES[name]


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith(("README", "docs/"))])
def test_a_page_has_one_title_and_begins_with_it(name):
    assert re.findall(r"^# .+", prose(PAGES[name]), re.M) == PAGES[name].splitlines()[:1]

"""The search page of a server in headless Chromium, used by keyboard, wide and narrow."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM
from devtools import Browser
from served_album import Served, encoder, picture

import hashkit
from hashkit.server.limits import ServerLimits
from hashkit.server.settings import ServerSettings

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

N_IMAGES = 120
ODD_NAMES = (
    "<img src=x onerror=document.title='run'>.png",
    "a name " + "that-goes-on-" * 15 + "to-its-end.png",
    "no_spaces_" + "x" * 200 + ".png",
    "\u05d7\u05ea\u05d5\u05dc \u05e2\u05dc \u05d4\u05d2\u05d2.png",
    "turned \u202e gpj.png",
)
GONE = "119.png"
TITLE = 'Ours & "theirs"'


@dataclasses.dataclass
class Place:
    """A page that is open, and what it searches."""

    browser: Browser
    served: Served
    bank: hashkit.Bank
    folder: Path

    def go(self, path: str = "", width: int = 1280, height: int = 900) -> Browser:
        self.browser.window(width, height)
        self.browser.open("about:blank")
        self.browser.open(self.served.address + path)
        self.browser.until("!document.getElementById('file').disabled")
        return self.browser

    def nearest(self, code, n_hits: int, without: int | None = None) -> list[str]:
        rows = hashkit.search(code[None], self.bank, top_k=len(self.bank)).rows[0].tolist()
        return [self.bank.names[row] for row in rows if row != without][:n_hits]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "album").mkdir()
    names = [*ODD_NAMES, *(f"{seed:03d}.png" for seed in range(len(ODD_NAMES), N_IMAGES))]
    for seed, name in enumerate(names):
        (folder / "album" / name).write_bytes(picture(seed))
    (folder / "large.png").write_bytes(picture(7, side=400) + bytes(100_000))
    bank = hashkit.encode(folder / "album", encoder(), folder / "album.h5")
    (folder / "album" / GONE).unlink()
    settings = ServerSettings(port=0, title=TITLE, limits=ServerLimits(max_bytes=90_000))
    with contextlib.closing(bank), Browser() as browser:
        served = Served(bank.path, settings)
        try:
            yield Place(browser, served, bank, folder)
        finally:
            served.stop()


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.value(
        f"[...document.querySelectorAll({selector!r})].map((one) => one.textContent)"
    )
    return found


def hit_names(browser: Browser) -> list[str]:
    titles: list[str] = browser.value(
        "[...document.querySelectorAll('#hits .tile')].map((one) => one.title)"
    )
    return titles


def text(browser: Browser, name: str) -> str:
    return texts(browser, f"#{name}")[0]


FOCUSED = (
    "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent)"
)


def focused(browser: Browser) -> str:
    name: str = browser.value(FOCUSED)
    return name.strip()


def tab_to(browser: Browser, beginning: str) -> None:
    for _ in range(40):
        browser.press("Tab")
        if focused(browser).startswith(beginning):
            return
    raise AssertionError(f"Tab does not reach {beginning}: {focused(browser)}")


def searched(browser: Browser, query: str) -> None:
    browser.until(f"document.getElementById('query-name').textContent === {query!r}")


def test_by_keyboard_alone(place):
    browser = place.go()
    browser.until("document.querySelectorAll('#samples li').length")
    assert text(browser, "title") == TITLE
    tab_to(browser, "Choose a picture")
    tab_to(browser, "Show others")
    tab_to(browser, "Search with ")
    name = focused(browser).removeprefix("Search with ")
    browser.press("Enter")
    searched(browser, name)
    row = list(place.bank.names).index(name)
    names = place.nearest(place.bank.codes[row], 100, without=row)
    assert hit_names(browser) == names[:48]
    assert focused(browser) == "Nearest images"

    tab_to(browser, "Rank 1,")
    browser.press("ArrowRight", "Enter")  # the second hit, in the larger view
    browser.until("document.getElementById('viewer').open")
    assert text(browser, "viewer-name") == names[1]
    browser.press("ArrowRight")
    assert text(browser, "viewer-name") == names[2]
    assert text(browser, "viewer-distance").endswith("away")
    browser.until("document.getElementById('viewer-size').textContent === '40 \u00d7 40 pixels'")
    browser.press("Home", "ArrowLeft")
    assert text(browser, "viewer-place") == "1 of 100"
    browser.press("End", "ArrowRight")
    assert (text(browser, "viewer-name"), text(browser, "viewer-place")) == (
        names[99],
        "100 of 100",
    )
    for _ in range(8):  # the focus stays in the dialog, or leaves the page for the browser
        browser.press("Tab")
        assert browser.value(
            "document.activeElement === document.body ||"
            " document.getElementById('viewer').contains(document.activeElement)"
        )
    browser.press("Escape")
    browser.until("!document.getElementById('viewer').open")
    # The page of hits that has it; the focus moves after the dialog is closed.
    browser.until(f"{FOCUSED}.trim().startsWith('Rank 100,')")
    assert hit_names(browser) == names[96:]

    browser.press("Enter", "Enter")  # search further with it
    searched(browser, names[99])
    browser.value("history.back()")
    searched(browser, name)
    assert hit_names(browser) == names[96:]


def test_back_and_forward_show_earlier_searches(place):
    browser = place.go("?query=9&k=60")
    searched(browser, place.bank.names[9])
    names = place.nearest(place.bank.codes[9], 60, without=9)
    assert hit_names(browser) == names[:48]
    browser.value("document.querySelector('.pager [data-step=\"1\"]').click()")
    assert hit_names(browser) == names[48:]
    assert texts(browser, ".pager span") == ["49\u201360 of 60"] * 2
    assert focused(browser).startswith("Rank 49,")
    browser.choose_file("#file", place.folder / "album" / "050.png")
    searched(browser, "050.png")
    assert browser.value("location.search") == "?k=60"
    assert hit_names(browser)[0] == "050.png"
    assert place.browser.value("document.title") == f"050.png \u2013 {TITLE}"
    requests = "performance.getEntriesByType('resource').filter((o) => o.name.includes('search?'))"
    n_requests = browser.value(f"{requests}.length")
    browser.value("history.back()")
    searched(browser, place.bank.names[9])
    assert hit_names(browser) == names[48:]
    browser.value("history.back()")
    browser.until("document.querySelectorAll('#hits li').length === 48")
    browser.value("history.go(2)")
    searched(browser, "050.png")
    assert browser.value(f"{requests}.length") == n_requests
    browser.value("location.reload()")
    browser.until("!document.getElementById('error').hidden")
    assert "050.png\u2069 is not kept when the page is closed" in text(browser, "error")
    assert browser.value("document.getElementById('result').hidden")


def test_options_narrow_the_hits(place):
    browser = place.go("?name=030.png")
    searched(browser, "030.png")
    browser.value("document.getElementById('radius').focus()")
    browser.write("0")
    browser.press("Enter")
    browser.until("!document.querySelectorAll('#hits li').length")
    assert text(browser, "status").startswith("There is no other image within 0 bits of")
    assert browser.value("location.search") == "?name=030.png&radius=0"
    browser.value("document.getElementById('k').focus()")
    browser.write("0")  # not a number of hits
    browser.press("Enter")
    assert browser.value("document.getElementById('k').validity.rangeUnderflow")
    browser = place.go("?query=30&k=2000")
    browser.until("document.querySelectorAll('#hits li').length === 48")
    assert text(browser, "status").endswith("At most 1,000 hits can be shown.")
    browser = place.go("?query=30&k=1&rerank=1")
    browser.until("document.querySelectorAll('#hits li').length === 1")
    assert browser.value("document.getElementById('k').value") == "1"
    assert text(browser, "status").endswith("hits are ordered by the logits of the query.")
    assert browser.value("document.querySelector('.pager').hidden")


def test_a_hit_or_a_file_can_be_dropped(place):
    browser = place.go("?query=9")
    searched(browser, place.bank.names[9])
    browser.drop("application/x-hashkit-row", "40")
    searched(browser, place.bank.names[40])
    assert browser.value("location.search") == "?query=40"
    browser.drop("text/plain", "some text")
    browser.until("!document.getElementById('error').hidden")
    assert text(browser, "error").startswith("Only picture files and hits of this page")


def test_errors_are_sentences_and_keep_the_hits(place):
    browser = place.go("?query=9")
    searched(browser, place.bank.names[9])
    before = hit_names(browser)
    for number, (content, words) in enumerate(
        (
            (b"this is no picture", "0.png\u2069 is not a picture that the server can read."),
            (b"", "1.png\u2069 is empty."),
            (picture(1)[:300], "The server answered: "),
            (bytes(90_001), "is too large: it has 90 kB, and the server takes 90 kB."),
        )
    ):
        (place.folder / f"{number}.png").write_bytes(content)
        browser.choose_file("#file", place.folder / f"{number}.png")
        browser.until(f"document.getElementById('error').textContent.includes({words!r})")
        assert browser.value("document.getElementById('again').hidden")
        assert hit_names(browser) == before
    with browser.offline():
        browser.choose_file("#file", place.folder / "album" / "050.png")
        browser.until("document.getElementById('error').textContent.includes('cannot be reached')")
        assert text(browser, "query-name") == place.bank.names[9]
    browser.value("document.getElementById('again').click()")
    searched(browser, "050.png")
    assert browser.value("document.getElementById('error').hidden")
    for address, words in (
        ("?query=9999", "The server answered: "),
        ("?name=none", "The server answered: "),
        ("?query=x", "The address is wrong: expected query to be a whole number from 0, found x."),
        ("?query=9&k=0", "The address is wrong: expected k to be a whole number from 1, found 0."),
    ):
        browser = place.go(address)
        browser.until("!document.getElementById('error').hidden")
        assert text(browser, "error").startswith(words)


def test_odd_names_and_a_missing_file_on_a_phone(place):
    for name in (*ODD_NAMES, GONE):
        row = list(place.bank.names).index(name)
        browser = place.go(f"?query={row}", 360, 740)
        searched(browser, name)
        assert browser.value("document.documentElement.scrollWidth") == 360
        browser.value("document.querySelector('#hits .tile').click()")
        assert browser.value("document.querySelector('.viewer').scrollWidth <= 360")
        assert browser.value("document.title") != "run"
        assert browser.value("document.querySelectorAll('[onerror]').length") == 0
    browser.until("document.querySelector('#query-picture .no-picture')")


def test_pictures_that_a_busy_server_refuses_are_asked_for_again(place):
    busy = Served(place.bank.path, ServerSettings(port=0, limits=ServerLimits(max_waiting=2)))
    try:
        browser = place.browser
        browser.open(f"{busy.address}?query=9&k=40")
        browser.until("document.querySelectorAll('#hits li').length === 40")
        shown = "document.querySelectorAll('#hits img').length === 40"
        whole = "[...document.querySelectorAll('#hits img')].every((one) => one.naturalWidth)"
        browser.until(f"{shown} && {whole}")
        entries = "performance.getEntriesByType('resource')"
        assert browser.value(f"{entries}.some((one) => one.responseStatus === 503)")
    finally:
        busy.stop()


def named(browser: Browser) -> list[tuple[str, str]]:
    """Kinds and names of what screen readers offer to the user."""
    kinds = {"button", "link", "dialog", "textbox", "spinbutton", "checkbox", "combobox", "image"}
    return [
        (node["role"]["value"], node["name"]["value"].strip())
        for node in browser.ask("Accessibility.getFullAXTree")["nodes"]
        if not node["ignored"] and node["role"]["value"] in kinds
    ]


def test_everything_has_a_name_for_screen_readers(place):
    browser = place.go("?query=9")
    searched(browser, place.bank.names[9])
    on_the_page = named(browser)
    browser.value("document.querySelector('#hits .tile').click()")
    in_the_dialog = named(browser)
    assert len(on_the_page) > 2 * 48
    assert ("button", "Search with this picture") in in_the_dialog
    assert [one for one in on_the_page + in_the_dialog if not one[1]] == []


def test_nothing_was_blocked_or_thrown(place):
    browser = place.go("?query=9")
    searched(browser, place.bank.names[9])
    assert browser.problems == []  # of the tests above
    browser.value("document.body.append(Object.assign(new Image(), { src: 'https://a.example/' }))")
    browser.value("new Promise((done) => setTimeout(done, 100))")
    (blocked,) = browser.problems
    assert "violates the following Content Security Policy" in str(blocked)

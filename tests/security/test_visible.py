"""Names of files and classes reach a terminal as text, whatever characters they hold."""

from __future__ import annotations

import io
import logging
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from cli_samples import COMMANDS, hashkit, write_digit
from linear_models import linear_model
from looped import looped

import hashkit as package
from hashkit.cli.app import quiet_warnings
from hashkit.cli.console import note, progress_bar
from hashkit.cli.visible import VisibleFormatter, result_console
from hashkit.manifest import Manifest
from hashkit.messages.visible_text import visible
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

HOSTILE = {
    "colour": "\x1b[31mred",
    "csi": "\x9b2J",
    "title": "\x1b]0;title\x07",
    "link": "\x1b]8;;http://x\x1b\\y\x1b]8;;\x1b\\",
    "bell": "ding\x07",
    "return": "shown\rhidden",
    "line": "a\nerror: b",
    "back": "ab\b\bcd",
    "delete": "a\x7fb",
    "null": "a\x00b",
    "bidi": "a\u202egnp.exe",
    "isolate": "\u2066a\u2069",
    "mark": "a\u200fb",
    "paragraph": "a\u2029b",
    "invisible": "a\u2060\ufeff\u200bb",
    "blank letters": "a\u3164\u115f\u2800b",
    "tag": "a\U000e0041b",
}


@looped("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_characters_become_visible(text):
    shown = visible(text)
    assert re.fullmatch(r"[ -~]+", shown)
    assert visible(shown) == shown


@looped(
    "text",
    [
        "photos/été 1.jpg",
        "猫/ネコ.png",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian, with a non-joiner
        "👩‍🔬 ❤️",  # emoji with a joiner, and a variation selector
        "葛󠄀",  # a variant of a Japanese character
        "C:\\photos\\new.png",
        "[red]a[/red] :smile:",
    ],
)
def test_the_letters_of_all_languages_stay(text):
    assert visible(text) == text


def test_bytes_that_are_not_utf_8_are_shown_as_bytes():
    assert visible(b"a\xff\x9bb".decode("utf-8", "surrogateescape")) == r"a\xff\x9bb"
    assert visible("\ud800") == r"\ud800"


def test_no_control_or_format_character_is_forgotten():
    kept = {
        chr(number)
        for number in range(0x110000)
        if unicodedata.category(chr(number)) in ("Cc", "Cs", "Zl", "Zp")
        and visible(chr(number)) == chr(number)
    }
    assert kept == set()
    for character in map(chr, range(0x110000)):  # all that change the direction of text
        if unicodedata.bidirectional(character) in {
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "BN", "B"
        } and visible(character) == character:  # fmt: skip
            assert character in "\u200c\u200d", hex(ord(character))  # the joiners


# Where text goes out


def test_notes_and_progress_are_visible(capfd):
    note("a\x1b[31m\nb")
    with progress_bar("t\x1b[31m", 2, "images") as bar:
        bar.update(2, "d\x07")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == r"a\x1b[31m\nb"
    assert lines[1].startswith(r"t\x1b[31m: 2 of 2 images")
    assert lines[1].endswith(r"d\x07")


def test_the_bar_of_a_terminal_is_visible(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("[red]t\x1b]0,x\x07[/red]", 2, "images") as bar:
        bar.update(2, "[b]d\x9b[/b]")
    shown = terminal.getvalue()
    assert r"[red]t\x1b]0,x\x07[/red]" in shown
    assert "\x1b]" not in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown


def test_tables_are_visible():
    from rich.table import Table

    console = result_console()
    console.file = io.StringIO()
    table = Table("he\x1b]ad", title="ti\x1b]tle", caption="cap\x1b]tion")
    table.add_row("ce\x1b]ll")
    console.print(table)
    console.print("te\x1b]xt")
    shown = console.file.getvalue()
    assert "\x1b" not in shown
    assert shown.count(r"\x1b]") == 5


def test_logged_lines_are_visible():
    record = logging.LogRecord("a", logging.WARNING, "", 0, "%s: odd", ("x\x1b[1m\ny",), None)
    assert VisibleFormatter("%(message)s").format(record) == r"x\x1b[1m\ny: odd"


# Every command


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with hostile names in every kind of file."""
    monkeypatch.chdir(tmp_path)
    texts = [text for text in HOSTILE.values() if "\x00" not in text]  # which no name may have
    names = [f"{number}{text}" for number, text in enumerate(texts)]
    codes = np.arange(2 * len(names), dtype=np.uint8).reshape(-1, 2)
    classes = tuple(f"class {text}" for text in texts)
    labels = np.arange(len(names))
    made = package.CodeSet(codes, 16, labels=labels, names=names, class_names=classes)
    for name in ("a\x1b]0,x\x07.npz", "b.npz", "a.h5"):
        package.save_codes(Path(name), made)
    manifest = Manifest(
        n_bits=16, height=4, width=4, resize="crop-bilinear", network="\x1b]0;n", dataset="\x9bd",
        class_names=classes, recipe="\x07r",
    )  # fmt: skip
    metadata = manifest.to_metadata()
    linear_model(Path("m\x1b]0,x\x07.onnx"), n_bits=16, height=4, width=4, metadata=metadata)
    for text in ("\x1b]0,x\x07", "\u202e"):
        write_digit(3, Path("photos") / f"class{text}" / f"image{text}.png")
        (Path("photos") / f"class{text}" / f"broken{text}.png").write_text("none")
    Run.create(Path("runs"), "r\x1b]0,x\x07", RunConfig(data=DataSpec(data="\x1b]0,x\x07")))
    return tmp_path


LINES = (
    "info 'a{x}.npz' a.h5 'm{x}.onnx' 'runs/r{x}'; info 'photos{x}'",
    (
        "encode photos --model 'm{x}.onnx' --out 'o{x}.h5'; info 'o{x}.h5';"
        "search --query 'photos/class{x}/image{x}.png' --model 'm{x}.onnx' --bank 'o{x}.h5' --k 9;"
        "search --query 'photos/class{x}/broken{x}.png' --model 'm{x}.onnx' --bank 'o{x}.h5';"
        "search --query 'none{x}' --model 'm{x}.onnx' --bank 'o{x}.h5'"
    ),
    "evaluate a.h5 b.npz",
    "evaluate 'a{x}.npz' 'a{x}.npz' --at 1,2",
    "evaluate 'none{x}' a.h5",
    "convert 'a{x}.npz' 'c{x}.h5'",
    "convert a.h5 'a{x}.npz'",
    "convert a.h5 'b{x}.h5'; index 'b{x}.h5'",
    "verify a.h5 'a{x}.npz'; verify 'm{x}.onnx'; verify 'none{x}'",
    "delete a.h5 --rows 0; delete a.h5 --name 'none{x}'",
    "encode 'photos{x}' --model 'm{x}.onnx' --out 'o{x}.h5'",
    "train --data 'photos{x}'",
    "train --network 'odd{x}'",
    "train --resume",
    "export --onnx",
    "export --web site --web-runtime 'w{x}'",
    "bench --model 'm{x}.onnx' --model 'none{x}'",
    "sync photos --model 'm{x}.onnx' --bank 's{x}.h5'; sync photos --bank 's{x}.h5'",
    "sync 'photos{x}' --model 'm{x}.onnx'",
    "dedup photos --exact; dedup 'a{x}.npz'; dedup 's{x}.h5'",
    "serve --bank 'none{x}' --model 'm{x}.onnx'",
    "compile 'odd{x}'",
    "doctor --json --'odd{x}'",
    "'odd{x}'",
)


@looped("line", LINES)
def test_no_command_prints_a_hostile_name_raw(place, line):
    outcomes = [hashkit(one) for one in line.format(x="\x1b]0,x\x07").split(";")]
    shown = "".join(outcome.stdout + outcome.stderr for outcome in outcomes)
    hidden = {character for character in shown if visible(character) != character} - {"\n"}
    assert hidden == set(), shown
    assert "\\x1b" in shown


def test_warnings_are_one_visible_line_and_none_is_pillows(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        quiet_warnings()
        warnings.warn_explicit("odd \x1b[1m\nof two lines", UserWarning, "x.py", 1, "library.part")
        warnings.warn_explicit("damaged", UserWarning, "x.py", 1, "PIL.TiffImagePlugin")
    assert capsys.readouterr().err == "warning: odd \\x1b[1m of two lines\n"


def test_every_command_is_tried():
    tried = {one.split()[0] for line in LINES for one in line.split(";")}
    assert set(COMMANDS) <= tried


def test_a_name_that_is_printed_raw_would_be_noticed(place, monkeypatch):
    for place_of in ("cli.console", "errors"):
        monkeypatch.setattr(f"hashkit.{place_of}.visible", lambda text: text)
    assert "\x1b" in hashkit("info 'none\x1b]0,x\x07'").stderr


def test_a_warning_of_a_library_is_one_line(capfd):
    from hashkit.cli.app import _show_warning

    _show_warning(UserWarning("odd\n  \x1b[31mname"), UserWarning, "file.py", 3)
    assert capfd.readouterr().err == "warning: odd \\x1b[31mname\n"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"])
def test_libraries_print_nothing_about_damaged_images(kind, capfd):
    """Not even those in C, which write past Python."""
    from PIL import Image

    from hashkit.preprocess import decode_usable

    file = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(file, kind)
    data = file.getvalue()
    for at in range(0, len(data), max(1, len(data) // 60)):
        decode_usable(data[:at] + b"\xff\x00\x9b" + data[at + 3 :])
        decode_usable(data[:at])
    assert capfd.readouterr() == ("", "")

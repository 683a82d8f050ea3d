"""`hashkit search` from rows, names and folders, its CSV file, and folders that have moved."""

from __future__ import annotations

import csv
import os
import shutil
import sys
from pathlib import Path

import pytest
from cli_samples import break_image, fail, hashkit, succeed, write_class_folders, write_digit
from linear_models import linear_model
from PIL import Image

from hashkit.bank.deletion import delete_rows, restore_rows
from hashkit.bank.reader import Bank
from hashkit.messages.visible_text import visible
from hashkit.workflow.row_images import RowImages, is_below


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """A model and two banks, whose images are in place; read only."""
    folder = tmp_path_factory.mktemp("album")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_class_folders(Path("photos"), per_class=4, suffix=".png")
        write_class_folders(Path("more"), per_class=2, suffix=".png")
        linear_model(Path("model.onnx"), n_bits=16, height=8, width=8)
        for name in ("photos", "more"):
            succeed(f"encode {name} --model model.onnx --out {name}.h5 --labels folders")
    return folder


@pytest.fixture
def place(album, monkeypatch):
    monkeypatch.chdir(album)
    return album


@pytest.fixture
def own(album, tmp_path, monkeypatch):
    """A copy that may be changed, with a bank of its own."""
    shutil.copytree(album, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    succeed("encode photos --model model.onnx --out photos.h5 --overwrite --labels folders")
    return tmp_path


def asked(options: str, banks: str = "--bank photos.h5") -> list[dict]:
    return succeed(f"search {options} {banks} --json").json["queries"]


def test_a_row_or_a_name_gives_the_hits_of_its_image(place):
    names = list(Bank.open("photos.h5").names)
    (by_image,) = asked(f"--query photos/{names[5]} --model model.onnx")
    # Without a model: there is no run here, and no built-in model made the bank.
    by_row, by_name, other = asked(f"--row 5 --name {names[5]} --name {names[2]}")
    assert by_row == by_name | {"query": names[5]}
    assert (by_row["row"], by_row["query"], other["row"]) == (5, names[5], 2)
    assert list(by_row) == ["query", "code", "label", "row", "hits"]
    assert by_row["hits"] == by_image["hits"]
    assert by_row["code"] == by_image["code"]
    assert "row" not in by_image
    assert by_row["hits"][0]["distance"] == 0


def test_rows_are_counted_across_banks(place):
    photos, more = Bank.open("photos.h5"), Bank.open("more.h5")
    both = "--bank photos.h5 --bank more.h5"
    row = len(photos) + 3
    (found,) = asked(f"--row {row} --k 30", both)
    assert (found["query"], found["row"]) == (more.names[3], row)
    assert found["code"] == more.codes[3].tobytes().hex()
    assert row in [hit["row"] for hit in found["hits"]]
    # A name stands for all rows that have it.
    twice = asked(f"--name {more.names[0]}", both)
    expected = [start + list(bank.names).index(more.names[0])
                for start, bank in ((0, photos), (len(photos), more))]  # fmt: skip
    assert [one["row"] for one in twice] == expected


@pytest.mark.parametrize("options", ["--k 4", "--radius 9", "--k 4 --rerank --oversample 2"])
def test_the_query_itself_is_left_out_if_asked(place, options):
    names = Bank.open("photos.h5").names
    queries = f"--row 5 --query photos/{names[7]} --query more/{names[0]} --model model.onnx"
    whole = asked(f"{queries} {options} --k 5".replace("--k 4", ""))
    without = asked(f"{queries} {options} --exclude-self")
    by_row = {one["query"]: [hit["row"] for hit in one["hits"]] for one in without}
    # The image of more/ is in another folder, so that it is no row of this bank.
    assert [5 in by_row[names[5]], 7 in by_row[f"photos/{names[7]}"]] == [False, False]
    assert 0 in by_row[f"more/{names[0]}"]
    if "oversample" not in options:
        kept = [hit["row"] for hit in next(o for o in whole if o.get("row") == 5)["hits"]]
        assert [row for row in kept if row != 5][:4] == by_row[names[5]][:4]
    if "--k" in options:
        assert [len(one["hits"]) for one in without] == [4, 4, 4]


def test_rows_that_are_not_there(own):
    assert "--row must be from 0 to 11, the rows of the bank, found 12" in fail(
        "search --row 12 --bank photos.h5"
    )
    name = Bank.open("photos.h5").names[4]
    last = name.rpartition("/")[2]
    line = fail(f"search --name {last} --bank photos.h5")
    assert line == f"error: --name {last}: no row of photos.h5 has this name; did you mean {name}?"
    assert "names are paths in the folder, as nought/" in fail(
        "search --name none.png --bank photos.h5"
    )
    line = fail(f"search --query {name} --bank photos.h5 --model model.onnx")
    assert line.endswith(
        f"there is no such file; to search with the row of this name, give --name {name}"
    )
    delete_rows("photos.h5", [4])
    for option in ("--row 4", f"--name {name}"):
        assert "is deleted" in fail(f"search {option} --bank photos.h5")
    restore_rows("photos.h5", [4])
    assert asked(f"--name {name}")[0]["row"] == 4
    nothing = hashkit("search --bank photos.h5")
    assert nothing.exit_code == 2
    assert "--row N or --name NAME" in nothing.stderr


def test_all_images_of_a_folder_are_searched_with(own):
    names = Bank.open("more.h5").names
    break_image(own / "more" / names[1])
    (own / "more" / "notes.txt").write_text("no image")
    outcome = succeed("search --query more --bank photos.h5 --model model.onnx --json")
    assert [one["query"] for one in outcome.json["queries"]] == [
        str(Path("more", name)) for name in names if name != names[1]
    ]
    assert f"left out: {own / 'more' / names[1]}" in outcome.stderr
    first = succeed(f"search --query more/{names[0]} --bank photos.h5 --model model.onnx --json")
    assert outcome.json["queries"][0] == first.json["queries"][0]
    for part, name in (("train/one", names[0]), ("test/two", names[2])):  # no split of classes
        (own / "parts" / part).mkdir(parents=True)
        shutil.copy(own / "more" / name, own / "parts" / part)
    parts = succeed("search --query parts --bank photos.h5 --model model.onnx --json")
    assert len(parts.json["queries"]) == 2
    for name in names:
        break_image(own / "more" / name)
    assert "none of its 6 images can be used" in fail(
        "search --query more --bank photos.h5 --model model.onnx"
    )


def test_a_csv_file_has_a_line_for_each_hit(own):
    odd = 'nought/"semi"; quoted, кот\n2.png'
    name = Bank.open("photos.h5").names[0]
    shutil.move(own / "photos" / name, own / "photos" / odd)
    succeed("encode photos --model model.onnx --out odd.h5")
    outcome = succeed("search --row 0 --row 3 --bank odd.h5 --k 3 --csv hits.csv")
    assert outcome.stdout == ""
    assert outcome.stderr.splitlines()[-1] == "hits.csv: 6 hits of 2 queries"
    queries = asked("--row 0 --row 3 --k 3", "--bank odd.h5")
    with Path("hits.csv").open(encoding="utf-8", newline="") as file:
        heading, *lines = csv.reader(file)
    assert heading == ["query", "rank", "row", "distance", "name", "label"]
    assert lines == [
        [
            visible(one["query"]),
            *(str(hit[key]) for key in ("rank", "row", "distance")),
            visible(hit["name"]),
            hit["label"] or "",
        ]
        for one in queries
        for hit in one["hits"]
    ]
    assert any(visible(odd) in line for line in lines)
    assert b"\r" not in Path("hits.csv").read_bytes()
    before = Path("odd.h5").read_bytes()
    assert "odd.h5: expected a new file" in fail("search --row 0 --bank odd.h5 --csv odd.h5")
    assert Path("odd.h5").read_bytes() == before
    Path("taken").mkdir()
    assert (
        "taken: cannot be written"
        in hashkit("search --row 0 --bank odd.h5 --csv taken --json").stderr
    )


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_csv_file_has_names_that_are_not_utf8_as_a_terminal_shows_them(own):
    odd = os.fsdecode(b"caf\xe9")
    shutil.copytree(own / "more", own / odd)
    name = Bank.open("more.h5").names[0]
    query = f"--query {odd}/{name} --model model.onnx --k 1 --csv hits.csv"
    (found,) = asked(query)
    assert found["query"] == f"{odd}/{name}"
    line = Path("hits.csv").read_bytes().splitlines()[1].decode()
    assert line.startswith(rf"caf\xe9/{name},1,")


def test_images_of_a_folder_that_has_moved(own):
    names = Bank.open("photos.h5").names
    (own / "elsewhere").mkdir()
    shutil.move(own / "photos", own / "elsewhere" / "photos")
    search = "search --row 1 --bank photos.h5 --k 4 --save-picture hits.png"
    assert (
        "4 images not found: if the folder was moved, give its current path with --data-root"
        in succeed(search).stderr
    )
    moved = "--data-root elsewhere/photos"
    assert succeed(f"{search} {moved}").stderr.splitlines()[-1] == "picture: hits.png"
    rerank = "search --row 1 --bank photos.h5 --rerank --model model.onnx"
    assert f"{names[1]}: --rerank needs the query's image" in fail(rerank)
    assert succeed(f"{rerank} {moved} --json").json["queries"][0]["row"] == 1
    assert "found no folder" in fail(f"{search} --data-root nowhere")
    evaluate = (
        "evaluate photos.h5 photos.h5 --rerank --oversample 2 --k 3 --model model.onnx --json"
    )
    assert "--data-root" in fail(evaluate)
    assert succeed(f"{evaluate} {moved}").json["rescored"]["oversample"] == 2


def test_the_file_of_a_row_is_the_one_that_was_encoded(own):
    """Two folders of one bank have the same names; the size tells which is which."""
    name = Bank.open("more.h5").names[0]
    Image.new("RGB", (40, 40), "red").save(own / "more" / name)
    succeed("encode more --model model.onnx --out photos.h5 --append")
    bank, find = Bank.open("photos.h5"), RowImages()
    rows = [row for row, known in enumerate(bank.names) if known == name]
    assert [find(bank, row) for row in rows] == [
        own / folder / name for folder in ("photos", "more")
    ]


def test_names_that_lead_out_of_the_folder(own):
    for name in ("../a.png", "a/../../b.png", "/etc/a.png", "a/.."):
        assert not is_below(name)
    for name in ("a.png", "a/..b.png", "..a/b", "a:b/c.png"):
        assert is_below(name)
    outside = own / "secret.png"
    Image.new("RGB", (8, 8)).save(outside)
    Path("list.txt").write_text(f"../secret.png\n{outside}\n")
    succeed("encode list.txt --model model.onnx --out list.h5 --data-root photos")
    bank = Bank.open("list.h5")
    assert all(RowImages()(bank, row).samefile(outside) for row in range(2))
    assert [RowImages(only_below=True)(bank, row) for row in range(len(bank))] == [None] * len(bank)


def test_output_never_replaces_images_and_banks_must_share_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for row in range(3):
        write_digit(row, Path("photos") / f"{row}.png")
    succeed("encode photos --model phash --out a.h5")
    succeed("encode photos --model phash-256 --out b.h5")
    before = Path("photos/1.png").read_bytes()
    for command in (
        "search --row 0 --bank a.h5 --save-picture",
        "search --row 0 --bank a.h5 --csv",
        "dedup photos --report",
        "dedup photos --csv",
        "evaluate a.h5 a.h5 --csv",
        "evaluate a.h5 a.h5 --latex",
        "evaluate a.h5 a.h5 --report",
        "bench --markdown",
        "bench --html",
    ):
        assert "not replaced" in fail(f"{command} photos/1.png"), command
        assert Path("photos/1.png").read_bytes() == before
    Path("notes.txt").write_text("mine")
    write_digit(3, Path("new/3.png"))
    for command in (
        "search --row 0 --bank a.h5 --csv notes.txt",
        "evaluate a.h5 a.h5 --query-labels l.csv --csv l.csv",
        "search --query new --bank a.h5 --save-picture new/3.png",
    ):
        Path("l.csv").write_text("0")
        assert "not replaced" in fail(command), command
    succeed("search --row 0 --bank a.h5 --save-picture hits.png")
    succeed("search --row 0 --bank a.h5 --save-picture hits.png")
    assert "of different models" in fail("search --row 0 --bank a.h5 --bank b.h5")


def test_messages_of_a_search_without_hits_and_of_mistyped_arguments(own):
    names = list(Bank.open("photos.h5").names)
    bank = "--bank photos.h5"
    far = succeed(f"search --row 0 --radius 0 --exclude-self {bank}").stdout
    assert "no images within 0 bits" in far
    assert "rank" not in far
    within = asked("--row 0 --radius 16 --k 3")
    assert [len(one["hits"]) for one in within] == [3]
    assert len(asked("--row 0 --radius 16")[0]["hits"]) == len(names)
    assert "at most 16" in fail(f"search --row 0 --radius 17 {bank}")
    assert "at most 16" in fail("dedup photos.h5 --radius 17")
    assert "the same file" in fail(f"search --row 0 {bank} --bank ./photos.h5")
    typo = names[0][:-6] + "x" + names[0][-6:]
    assert f"did you mean {names[0]}?" in fail(f"search --name {typo} {bank}")
    assert "photos.h5 lies here" in fail("search --row 0") or "more.h5" in fail("search --row 0")
    assert "did you mean phash?" in fail(f"search --query photos/{names[0]} {bank} --model phsh")
    wrong = fail(f"search --query photos/{names[0]} {bank} --model phash")
    assert "found the built-in model phash;" in wrong
    assert "hashkit encode --overwrite" in wrong
    break_image(Path("photos") / "broken.png")
    succeed("sync photos --bank kept.h5 --model phash")
    assert "no row of this image" in fail("search --name broken.png --bank kept.h5")
    other = fail(f"search --query photos/{names[0]} --bank kept.h5 --model model.onnx")
    assert "expected the built-in model phash" in other
    assert "hashkit sync" in other
    for name in names:
        (Path("photos") / name).unlink()
    succeed("sync photos --bank kept.h5 --allow-removals")
    succeed("convert kept.h5 empty.h5")
    assert "has no rows" in fail("search --row 0 --bank empty.h5")


def test_a_name_cannot_act_on_a_terminal_from_a_table(own):
    name = "photos/\x1b[2J\nevil.png"
    write_digit(1, Path(name))
    succeed("encode photos --model model.onnx --out evil.h5")
    succeed("search --row 0 --bank evil.h5 --k 30 --csv hits.csv")
    text = Path("hits.csv").read_bytes()
    assert b"\\x1b[2J\\nevil.png" in text
    assert b"\x1b" not in text
    assert text.count(b"\n") == len(Bank.open("evil.h5")) + 1

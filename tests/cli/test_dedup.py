from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli_samples import hashkit as run
from PIL import Image

import hashkit
from hashkit.cli.dedup_output import print_duplicates
from hashkit.collection.duplicates import Duplicate, DuplicateGroup
from hashkit.collection.facts import ImageFacts
from hashkit.collection.signatures import Signer
from hashkit.errors import ConfigError
from hashkit.report.duplicates_page import render_duplicates_page
from hashkit.workflow import near_codes
from hashkit.workflow.dedup import Duplicates


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures: one with an equal file, one with equal pixels, one at another size."""
    folder = tmp_path_factory.mktemp("dedup") / "photos"
    (folder / "old").mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name in "abcd":
        pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((240, 200), Image.Resampling.BICUBIC)
        picture.save(folder / f"{name}.png")
    shutil.copy(folder / "a.png", folder / "old" / "a.png")
    Image.open(folder / "b.png").save(folder / "b<i>.bmp")
    Image.open(folder / "c.png").resize((120, 100)).save(folder / "c small.jpg", quality=95)
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(autouse=True)
def without_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Work as without the extra, which is also faster."""
    monkeypatch.setattr(Signer, "load", lambda: Signer(None))
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def bank(photos: Path) -> Path:
    path = photos.parent / "photos.h5"
    hashkit.encode(photos, "phash", path)
    return path


def groups_of(document: dict) -> list[tuple[str, str, list[str]]]:
    return [
        (group["kind"], group["keep"], [image["name"] for image in group["images"]])
        for group in document["groups"]
    ]


EXPECTED = [
    ("bytes", "a.png", ["a.png", "old/a.png"]),
    ("pixels", "b.png", ["b.png", "b<i>.bmp"]),
    ("near", "c.png", ["c.png", "c small.jpg"]),
]


@pytest.mark.end_to_end  # a fresh clone compiles the kernels of the second stage for it
def test_the_duplicates_of_a_folder_in_every_form(photos: Path, tmp_path: Path) -> None:
    table, page = tmp_path / "d.csv", tmp_path / "d.html"
    outcome = run(f"dedup '{photos}' --json --csv '{table}' --report '{page}'")
    assert outcome.exit_code == 0
    assert "without learned codes, fewer crops are found: pip install" in outcome.stderr
    document = outcome.json
    assert groups_of(document) == EXPECTED
    assert document["n_images"] == 7
    assert document["n_duplicates"] == 3
    assert document["spare_bytes"] == sum(
        (photos / name).stat().st_size for name in ("old/a.png", "b<i>.bmp", "c small.jpg")
    )
    near = document["groups"][2]["images"][1]
    assert 0 < near["distance"] <= 24
    assert 0.6 < near["score"] <= 1
    size = (photos / "c small.jpg").stat().st_size
    assert (near["bytes"], near["width"], near["height"]) == (size, 120, 100)
    assert [fault["name"] for fault in document["faults"]] == ["broken.jpg"]
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["name"] for row in rows if row["keep"] == "0"] == [
        "old/a.png",
        "b<i>.bmp",
        "c small.jpg",
    ]
    html = page.read_text()
    assert "b&lt;i&gt;.bmp" in html
    assert "<i>" not in html
    assert html.count('<img src="data:image/') == 6
    assert "broken.jpg: not an image" in html
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)


def test_the_duplicates_of_a_bank_with_and_without_its_images(bank: Path, photos: Path) -> None:
    found = hashkit.find_duplicates(bank, 8)
    assert groups_of(found.to_dict()) == EXPECTED
    assert found.folder == photos
    # Without the files, what the bank keeps of them is compared.
    moved = photos.rename(photos.with_name("elsewhere"))
    try:
        document = hashkit.find_duplicates(bank, 8).to_dict()
        assert [(kind, len(names)) for kind, _, names in groups_of(document)] == [
            ("bytes", 2),
            ("near", 2),
            ("near", 2),
        ]
        assert document["groups"][0]["images"][0]["width"] is None
        outcome = run(f"dedup '{bank}' --radius 8 --apply 'move={photos.parent}/out'")
        assert "a.png: the file was not found; its group is skipped" in outcome.stderr
        assert not (photos.parent / "out").exists()
        outcome = run(f"dedup '{bank}' --radius 8 --data-root '{moved}' --json")
        assert groups_of(outcome.json) == EXPECTED
    finally:
        moved.rename(photos)


def test_exact_finds_only_equal_pictures(bank: Path, photos: Path) -> None:
    for source in (photos, bank):
        found = hashkit.find_duplicates(source, exact=True)
        assert groups_of(found.to_dict()) == EXPECTED[:2]
    with pytest.raises(ConfigError, match="`exact` and `radius` cannot be combined"):
        hashkit.find_duplicates(photos, 4, exact=True)


def test_duplicates_are_moved_and_moved_back(photos: Path, tmp_path: Path) -> None:
    album, out = tmp_path / "album", tmp_path / "out"
    shutil.copytree(photos, album)
    before = sorted(path.name for path in album.rglob("*"))
    outcome = run(f"dedup '{album}' --exact --apply 'move={out}' --json")
    journal = Path(outcome.json["moved"]["journal"])
    assert len(outcome.json["moved"]["files"]) == 2
    moved = [path.name for path in out.rglob("*") if path.suffix in (".png", ".bmp")]
    assert sorted(moved) == ["a.png", "b<i>.bmp"]
    assert f"hashkit dedup --undo {journal}" in outcome.stderr
    assert run(f"dedup '{album}' --exact --json").json["groups"] == []
    outcome = run(f"dedup --undo '{journal}' --json")
    assert outcome.json == {"restored": 2, "unmoved": 0, "faults": []}
    assert sorted(path.name for path in album.rglob("*")) == before
    assert "0 files moved back; 2 already in place" in run(f"dedup --undo '{journal}'").stderr
    (album / "old" / "a.png").unlink()
    outcome = run(f"dedup --undo '{journal}'")
    assert outcome.exit_code == 1
    assert "old/a.png: found neither there nor at" in outcome.stderr


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        ("dedup", 1, "expected a folder or a bank, found none"),
        ("dedup nothing/", 1, "found no such folder"),
        ("dedup . --apply copy=x", 2, "expected move=FOLDER, found 'copy=x'"),
        ("dedup . --apply move=inner", 1, "expected a folder outside"),
        ("dedup . --undo x.json", 1, "--undo takes only the journal"),
        ("dedup . --csv -", 1, "expected the name of a file, found `-`"),
        ("dedup . --data-root x", 1, "--data-root is for a bank whose images were moved"),
    ],
)
def test_a_wrong_command_is_an_error_and_writes_nothing(
    command: str, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(command)
    assert outcome.exit_code == code
    assert message in " ".join(outcome.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_too_many_near_pairs_are_refused(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(near_codes, "_MAX_PAIRS", 10)
    codes = np.arange(8, dtype=np.uint8)[:, None]
    hashkit.save_codes(tmp_path / "codes.h5", hashkit.CodeSet(codes, 8))
    with pytest.raises(ConfigError, match="choose a smaller one"):
        hashkit.find_duplicates(tmp_path / "codes.h5")
    assert hashkit.find_duplicates(tmp_path / "codes.h5", 0).groups == ()


def test_a_terminal_shows_the_largest_groups(monkeypatch, capsys) -> None:
    groups = tuple(
        DuplicateGroup(
            ImageFacts(f"keep{n}", n_bytes=n),
            (Duplicate(ImageFacts("copy", n_bytes=n), 0, "bytes"),) * 12,
        )
        for n in [*range(1, 30), 1000]
    )
    found = Duplicates(Path("x"), Path("x"), None, 390, groups, ())
    print_duplicates(found, is_moved=False)
    assert capsys.readouterr().out.count("\n") == 30 * 13  # no terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_duplicates(found, is_moved=False)
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 20 * 12
    assert shown.out.startswith("keep      keep1000\n")
    assert "and 2 more" in shown.out
    assert "only the 20 groups" in shown.err


def test_a_page_of_very_many_groups_shows_those_with_most_bytes(monkeypatch) -> None:
    monkeypatch.setattr("hashkit.report.duplicates_page._MAX_PICTURES", 4)
    groups = [
        {
            "kind": "bytes",
            "keep": f"keep{n}",
            "images": [
                {
                    "name": name,
                    "distance": 0,
                    "score": None,
                    "bytes": n,
                    "width": 1,
                    "height": 1,
                    "kind": kind,
                }
                for name, kind in ((f"keep{n}", None), (f"copy{n}", "bytes"))
            ],
        }
        for n in range(1, 6)
    ]
    document = {"source": "x", "radius": 2, "n_images": 10, "n_duplicates": 5, "keep_rule": "rule"}
    document |= {"spare_bytes": 15, "groups": groups, "faults": []}
    html = render_duplicates_page(json.loads(json.dumps(document)), {}.get)
    assert re.findall(r"keep\d", html) == ["keep5", "keep5", "keep4", "keep4"]
    assert "3 more groups are not on this page" in html

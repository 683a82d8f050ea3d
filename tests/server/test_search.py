"""Searching over HTTP: by an image, a code, a row or a name; what is answered, and refused."""

from __future__ import annotations

import concurrent.futures
import json

import numpy as np
import pytest
from served_album import client_of, encoder, make_album, picture

import hashkit
from hashkit.server.limits import ServerLimits
from hashkit.workflow.search_results import Query, Result, hits_of

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return make_album(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def client(bank):
    with client_of(bank, limits=ServerLimits(max_bytes=200_000, max_k=4)) as client:
        yield client


def expected(bank_path, data, **how):
    code = encoder().encode([data])[0]
    with hashkit.Bank.open(bank_path) as bank:
        (hits,) = hits_of(hashkit.search(code[None], [bank], **how), [bank])
        return Result(Query("image", code, None), hits).to_dict()


def test_an_image_is_answered_as_the_command_answers_it(client, bank):
    answer = client.post("/search?k=3", content=picture(3))
    assert answer.status_code == 200
    assert answer.json() == expected(bank, picture(3), top_k=3)
    assert answer.json()["hits"][0]["name"] == "sub/3.png"
    near = client.post("/search?radius=20", content=picture(3)).json()
    assert near == expected(bank, picture(3), radius=20, top_k=4)


def test_rerank_orders_by_the_logits(client, bank):
    logits = encoder().logits([picture(3)])
    answer = client.post("/search?k=2&rerank=1&oversample=2", content=picture(3)).json()
    assert answer == expected(bank, picture(3), top_k=2, logits=logits, oversample=2)
    again = client.post("/search?k=2&rerank=1", content=b'{"row": 1}', headers=JSON).json()
    assert again["hits"][0]["row"] == 1


def test_a_search_starts_from_a_code_a_row_or_a_name(client):
    by_image = client.post("/search?k=3", content=picture(3)).json()
    by_code = client.post("/search?k=3", json={"code": by_image["code"]}).json()
    assert by_code["hits"] == by_image["hits"]
    row = by_image["hits"][0]["row"]
    for start in ({"row": row}, {"name": "sub/3.png"}):
        answer = client.post("/search?k=3", json=start).json()
        assert answer["hits"] == by_image["hits"]
        assert (answer["query"], answer["row"]) == ("sub/3.png", row)


@pytest.mark.end_to_end
def test_requests_at_once_share_the_model(client, bank):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda n: client.post("/search?k=2", content=picture(n)), range(24))
        )
    for seed, answer in enumerate(answers):
        assert answer.json() == expected(bank, picture(seed), top_k=2)


REFUSED = [
    ("?k=0", picture(0), {}, 422, "k"),
    ("?k=5", picture(0), {}, 422, "from 1 to 4"),
    ("?k=%D9%A3", picture(0), {}, 422, "k"),
    ("?k=1&k=2", picture(0), {}, 400, "once"),
    ("?top=1", picture(0), {}, 400, "unknown parameter"),
    ("?radius=-1", picture(0), {}, 422, "radius"),
    ("?radius=65", picture(0), {}, 422, "from 0 to 64"),
    ("?rerank=yes", picture(0), {}, 422, "rerank"),
    ("?oversample=2", picture(0), {}, 422, "oversample"),
    ("?label=cat", picture(0), {}, 422, "no such class"),
    ("", b"", {}, 400, "nothing"),
    ("", b"hello", {}, 415, "expected an image file"),
    ("", picture(0)[:200], {}, 422, "cut off"),
    ("", bytes(200_001), {}, 413, "200,000 bytes"),
    ("", b"{", JSON, 400, "JSON"),
    ("", b"[" * 100_001, JSON, 413, "expected JSON of at most"),
    ("", picture(0), JSON, 415, "found an image file"),
    ("", b'{"row": 1}', {}, 415, "Content-Type: application/json"),
    ("", b"[1]", JSON, 422, "found [1]"),
    ("", b"null", JSON, 422, "found null"),
    ("", b"{}", JSON, 422, "found an empty one"),
    ("", b'{"row": {"a": true}}', JSON, 422, 'found {"a": true}'),
    ("", b'{"code": ""}', JSON, 422, "16 hexadecimal digits, not 0"),
    ("", b'{"row": 1, "name": "x"}', JSON, 422, "one of"),
    ("", b'{"row": "1"}', JSON, 422, "whole number"),
    ("", b'{"row": true}', JSON, 422, "whole number"),
    ("", b'{"row": 99}', JSON, 404, "no row 99"),
    ("", b'{"row": -1}', JSON, 404, "no row"),
    ("", b'{"name": "../album.h5"}', JSON, 404, "no image named"),
    ("?rerank=1", b'{"code": "' + b"0" * 16 + b'"}', JSON, 422, "image"),
]


def test_wrong_requests_are_refused_in_one_line(client):
    for query, body, headers, status, words in REFUSED:
        answer = client.post(f"/search{query}", content=body, headers=headers)
        case = (query, body[:40], answer.text)
        assert answer.status_code == status, case
        assert words in answer.json()["error"], case
        assert "\n" not in answer.json()["error"]
        assert "`" not in answer.json()["error"], case


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(client):
    before = hashkit.set_limits(image_pixels=1500)
    try:
        answer = client.post("/search", content=picture(0))
    finally:
        hashkit.set_limits(image_pixels=before.image_pixels)
    assert answer.status_code == 413, answer.text
    assert answer.json() == {"error": "the image has more than the 1,500 pixels that are allowed"}


def test_facts_rows_and_missing_addresses(client):
    about = client.get("/about").json()
    assert (about["title"], about["rows"], about["bits"]) == ("album", 5, 64)
    assert (about["writable"], about["max_k"], about["max_bytes"]) == (False, 4, 200_000)
    assert client.get("/nothing").json() == {"error": "not found"}
    assert client.get("/search").status_code == 405
    assert client.post("/images?name=a.png", content=picture(9)).status_code == 403
    rows = client.get("/rows?n=2").json()["rows"]
    assert [one["row"] for one in rows] == [0, 2]
    assert client.get("/rows?n=2&turn=1").json()["rows"][0]["row"] == 1


def test_the_page_and_the_description_of_the_api(client):
    assert "<title>" in client.get("/").text
    assert client.get("/page/page.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/page/settings.json").json()["backend"] == "server"
    document = client.get("/openapi.json").json()
    page = client.get("/docs").text
    assert "/search" in page
    assert "Body: The bytes of an image file; or JSON" in page
    known = {route.path for route in client.app.routes}
    undescribed = {"/", "/page/{name}", "/openapi.json", "/docs"}
    assert {
        path.replace("{name}", "{name:path}") for path in document["paths"]
    } == known - undescribed


def test_requests_and_rows_are_counted(client):
    client.post("/search", content=picture(0))
    assert client.request("MADE-UP", "/about").status_code == 405
    text = client.get("/metrics").text
    assert "MADE-UP" not in text
    assert 'hashkit_requests_total{method="POST",route="/search",status="200"}' in text
    assert "hashkit_bank_rows 5.0" in text


def test_the_names_of_the_answer_fit_every_client(client):
    answer = client.post("/search", content=picture(0))
    assert answer.content.isascii()
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.content)["hits"]


def test_a_logit_that_is_not_finite_is_an_error_of_the_server(bank, monkeypatch):
    with client_of(bank) as client:
        monkeypatch.setattr(
            type(encoder()),
            "run",
            lambda *_: (np.zeros((1, 8), np.uint8), np.full((1, 64), np.nan)),
        )
        answer = client.post("/search", content=picture(0))
    assert (answer.status_code, answer.json()) == (
        500,
        {"error": "the server failed; its log says why"},
    )


def test_a_bank_of_another_model_does_not_replace_the_one_that_is_served(tmp_path):
    bank = make_album(tmp_path, 3)
    other = tmp_path / "other.h5"
    hashkit.encode(tmp_path / "album", "phash-256", other).close()
    with client_of(bank) as client:
        before = client.post("/search?k=2", content=picture(1)).json()
        kept = bank.read_bytes()
        other.replace(bank)
        for _ in range(2):
            assert client.post("/search?k=2", content=picture(1)).json() == before
        assert "hashkit_bank_stale 1.0" in client.get("/metrics").text
        assert "another model" in client.get("/about").json()["fault"]
        (tmp_path / "again.h5").write_bytes(kept)
        (tmp_path / "again.h5").replace(bank)
        assert client.post("/search?k=2", content=picture(1)).json() == before
        assert "hashkit_bank_stale 0.0" in client.get("/metrics").text
        assert client.get("/about").json()["fault"] is None
        assert client.get("/readyz").text == "ready\n"
        bank.unlink()
        answer = client.get("/readyz")
        assert (answer.status_code, "is gone" in answer.text) == (200, True)
        assert client.post("/search?k=2", content=picture(1)).json() == before


def test_a_bank_that_cannot_be_searched_is_not_ready(tmp_path):
    bank = make_album(tmp_path, 3)
    with client_of(bank) as client:
        bank.write_bytes(bank.read_bytes()[:300])
        assert client.post("/search", content=picture(1)).status_code == 503
        answer = client.get("/readyz")
        assert (answer.status_code, "cannot be searched" in answer.text) == (503, True)
        assert "damaged" in client.get("/about").json()["fault"]

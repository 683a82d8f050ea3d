"""A bank set is served with the answers of one bank, and follows its manifest."""

from __future__ import annotations

import pytest
from served_album import TOKEN, client_of, make_album, picture

import hashkit
from hashkit.errors import ConfigError
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.server.settings import ServerSettings
from hashkit.server.starting import serve
from hashkit.workflow.reporter import SILENT


def test_a_set_is_served_as_one_bank_and_reloaded(tmp_path):
    bank = make_album(tmp_path, 7)
    several = tmp_path / "set"
    hashkit.save_codes(several, hashkit.Bank.open(bank), shards=3)
    with client_of(bank) as one, client_of(several) as client:
        for path, body in (
            ("/search?k=4", {"content": picture(3)}),
            ("/search?k=4", {"json": {"row": 6}}),
            ("/search?k=4", {"json": {"name": "sub/5.png"}}),
            ("/search?k=2&rerank=1", {"json": {"row": 5}}),
        ):
            answer = client.post(path, **body)
            assert answer.status_code == 200
            assert answer.json() == one.post(path, **body).json()
        for path in ("/rows?n=3&turn=1", "/about"):
            found, expected = (who.get(path).json() for who in (client, one))
            assert found == expected
        assert client.get("/rows/6/image").content == one.get("/rows/6/image").content
        name = client.post("/search?k=1", json={"row": 6}).json()["hits"][0]["name"]
        hashkit.delete_rows(several, [6])
        assert client.get("/about").json()["rows"] == 6
        assert client.post("/search", json={"row": 6}).status_code == 404
        assert client.post("/search", json={"name": name}).status_code == 404
        (several / "bankset.json").unlink()
        assert client.post("/search?k=1", json={"row": 5}).status_code == 200
        assert client.get("/about").json()["fault"]


def test_images_cannot_be_added_to_a_set(tmp_path):
    settings = ServerSettings(writable=tmp_path, token=TOKEN)
    with pytest.raises(ConfigError, match="a bank set accepts no uploads"):
        serve(tmp_path, None, settings, None, RuntimeSettings(), SILENT)

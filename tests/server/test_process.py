"""The command `hashkit serve` as a process: its start, its end, and a kill in the middle."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from cli_samples import fail
from serve_soak import TOKEN, Supervisor
from served_album import make_album, picture

import hashkit
from hashkit.bank.editor import BankEditor

pytestmark = pytest.mark.end_to_end

START = "from hashkit.cli import main; main()"


def post(address, path, body, **headers):
    """Status and JSON of an answer."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except http.client.HTTPException as error:
        raise ConnectionError from error
    finally:
        connection.close()


def test_a_stop_completes_requests_that_have_begun(tmp_path):
    bank = make_album(tmp_path, 2)
    command = [sys.executable, "-c", START, "serve", "--bank", str(bank), "--port", "0"]
    with subprocess.Popen(
        [*command, "--writable", str(tmp_path / "album")],
        env=os.environ | {"HASHKIT_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        lines = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"http://(.*):(\d+)/", line) for line in lines)))
        address = found[1], int(found[2])
        while not post_is_answered(address):
            time.sleep(0.05)
        body = picture(0)
        head = (
            f"POST /search?k=1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection(address) as begun:
            begun.sendall(head.encode() + body[:50])
            time.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert process.poll() is None
            with pytest.raises(OSError, match="refused"):
                socket.create_connection(address)
            begun.sendall(body[50:])
            begun.settimeout(20)
            assert begun.recv(100).startswith(b"HTTP/1.1 200 ")
        assert process.wait(20) == 0
        assert process.stderr.read() == "stopped\n"
    BankEditor.open(bank).close()


def post_is_answered(address):
    try:
        return post(address, "/search", picture(0))[0] == 200
    except OSError:
        return False


def test_a_kill_loses_nothing_that_was_answered(tmp_path):
    bank, folder = tmp_path / "bank.h5", tmp_path / "uploads"
    options = ["--bank", str(bank), "--model", "phash", "--writable", str(folder)]
    answered = []
    with Supervisor(options) as server:
        server.wait_until_ready()
        for number in range(25):
            if number == 10:
                server.kill()
            try:
                status, _ = post(
                    server.address,
                    f"/images?name={number}.png",
                    picture(number),
                    Authorization=f"Bearer {TOKEN}",
                )
                assert status == 201
                answered.append(f"{number}.png")
            except OSError:
                time.sleep(0.05)
        server.wait_until_ready()
        assert server.n_starts == 2
        for name in answered:
            hit = post(server.address, "/search?k=1", (folder / name).read_bytes())[1]["hits"][0]
            assert hit["distance"] == 0
    assert len(answered) >= 23
    with hashkit.Bank.open(bank) as opened:
        opened.verify()
        assert sorted(opened.names) == sorted(path.name for path in folder.glob("[!.]*"))
        assert set(answered) <= set(opened.names)


def test_a_start_with_wrong_options_is_a_one_line_error(tmp_path, monkeypatch):
    bank = make_album(tmp_path, 1)
    monkeypatch.delenv("HASHKIT_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for options, words in (
            (f"--bank {tmp_path}/nothing.h5", "there is no such bank"),
            (f"--bank {bank} --writable {tmp_path}/album", "HASHKIT_TOKEN"),
            (f"--bank {bank} --port {port}", f"port {port} is used"),
            (f"--bank {bank} --host 203.0.113.7", "not an address of this machine"),
            (f"--bank {bank} --model phash-256", "was made by another model"),
            (f"--bank {bank} --data-root {tmp_path}/nowhere", "--data-root must be the folder"),
        ):
            assert words in fail(f"serve {options}")
        monkeypatch.setenv("HASHKIT_TOKEN", TOKEN)
        line = fail(f"serve --bank {tmp_path}/new.h5 --writable {tmp_path}/album")
        assert "--model phash" in line
        assert not (tmp_path / "new.h5").exists()

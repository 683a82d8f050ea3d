"""Threads search one bank while another process adds to it, deletes from it and replaces it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from changing_bank import N_BITS, write_bank
from linear_models import linear_model

import hashkit

N_THREADS, N_CHANGES = 3, 60
IMAGES = np.random.default_rng(2).integers(0, 256, (3, 4, 5, 3), np.uint8)


class Service:
    """A bank that threads search, each of which takes its newest state now and then."""

    def __init__(self, path: Path, model: Path) -> None:
        self.bank = hashkit.Bank.open(path)
        self.encoder = hashkit.Encoder.load(model, "cpu")
        self.codes = self.encoder.encode(IMAGES)
        self.is_done = threading.Event()
        self.n_searches = self.n_states = 0
        self.errors: list[BaseException] = []

    def work(self, seed: int) -> None:
        try:
            rng = np.random.default_rng(seed)
            while not self.is_done.is_set():
                self.search_once(rng)
        except BaseException as error:
            self.errors.append(error)
            self.is_done.set()

    def search_once(self, rng: np.random.Generator) -> None:
        newest = self.bank.reload()
        self.n_states += newest is not self.bank
        self.bank = newest
        bank = self.bank  # set by whichever thread came last
        row = int(rng.integers(len(bank)))
        query = np.array(bank.codes[row : row + 1])
        found = hashkit.search(query, bank, top_k=min(5, len(bank) - bank.n_deleted), n_threads=2)
        for hit, distance in zip(found.rows[0].tolist(), found.distances[0], strict=True):
            code = bank.codes[hit]
            assert bank.names[hit] == f"{code.tobytes().hex()}.jpg"
            assert np.bitwise_count(code ^ query[0]).sum() == distance
            assert bank.deleted is None or not bank.deleted[hit]
        if bank.deleted is None or not bank.deleted[row]:
            assert found.distances[0, 0] == 0
        np.testing.assert_array_equal(self.encoder.encode(IMAGES), self.codes)
        self.n_searches += 1


@pytest.mark.end_to_end
@pytest.mark.skipif(sys.platform == "win32", reason="open banks cannot be replaced on Windows")
def test_no_answer_is_wrong_while_the_bank_changes(tmp_path):
    path = tmp_path / "bank.h5"
    write_bank(path, 500, np.random.default_rng(0))
    service = Service(path, linear_model(tmp_path / "model.onnx"))
    assert service.bank.n_bits == N_BITS
    threads = [threading.Thread(target=service.work, args=(n,)) for n in range(N_THREADS)]
    for thread in threads:
        thread.start()
    script = Path(__file__).parents[1] / "support" / "changing_bank.py"
    changed = subprocess.run(
        [sys.executable, str(script), str(path), str(N_CHANGES)],
        capture_output=True,
        text=True,
        check=False,
    )
    service.is_done.set()
    for thread in threads:
        thread.join()
    if service.errors:
        raise service.errors[0]
    assert changed.returncode == 0, changed.stderr
    assert service.n_states > 5
    assert service.n_searches > N_CHANGES
    with hashkit.Bank.open(path) as bank:
        bank.verify()

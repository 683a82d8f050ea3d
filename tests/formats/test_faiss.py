"""Faiss binary indexes: searching hashkit's files with Faiss, and reading Faiss's files."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from hashkit import search
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError
from hashkit.formats import open_codes, save_codes

CODES = pack(np.random.default_rng(0).integers(0, 2, (300, 24)))
IDS = np.arange(300) * 7 + 1


def flat() -> faiss.IndexBinaryFlat:
    index = faiss.IndexBinaryFlat(24)
    index.add(CODES)
    return index


def with_ids(kind: type) -> faiss.IndexBinary:
    index = kind(faiss.IndexBinaryFlat(24))
    index.add_with_ids(CODES, IDS)
    return index


def filled(index: faiss.IndexBinary) -> faiss.IndexBinary:
    if not index.is_trained:
        index.cp.min_points_per_centroid = 1
        index.train(CODES)
    index.add(CODES)
    return index


def inverted_lists() -> faiss.IndexBinaryIVF:
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(24), 24, 4)
    index.own_fields = False
    index.keep = index.quantizer
    return filled(index)


def test_faiss_and_hashkit_find_the_same_rows(tmp_path):
    codes = CodeSet(CODES[:, :3] & np.array([255, 255, 240], np.uint8), 20)
    save_codes(tmp_path / "a.faiss", codes)
    index = faiss.read_index_binary(str(tmp_path / "a.faiss"))
    assert type(index) is faiss.IndexBinaryFlat
    assert (index.d, index.ntotal) == (24, 300)
    queries = codes.codes[:20] ^ np.array([0, 17, 16], np.uint8)
    distances, ids = index.search(queries, 10)
    ranking = search(queries, codes, top_k=10)
    np.testing.assert_array_equal(distances, ranking.distances)
    np.testing.assert_array_equal(ids, ranking.rows)


@pytest.mark.parametrize(
    ("make", "ids"),
    [
        (flat, []),
        (lambda: with_ids(faiss.IndexBinaryIDMap), IDS.tolist()),
        (lambda: with_ids(faiss.IndexBinaryIDMap2), IDS.tolist()),
        (inverted_lists, []),
        (lambda: filled(faiss.IndexBinaryHNSW(24, 8)), []),
        (lambda: filled(faiss.IndexBinaryMultiHash(24, 2, 8)), []),
    ],
    ids=["flat", "ids", "ids-2", "inverted", "graph", "multi-hash"],
)
def test_an_index_that_can_reconstruct_its_codes_is_read(tmp_path, make, ids):
    path = tmp_path / "a.index"
    faiss.write_index_binary(make(), str(path))
    found = open_codes(path)
    assert found.n_bits == 24
    np.testing.assert_array_equal(found.codes, CODES)
    assert list(found.names) == list(map(str, ids))


def test_an_index_that_cannot_is_refused(tmp_path):
    path = str(tmp_path / "a.faiss")
    faiss.write_index_binary(filled(faiss.IndexBinaryHash(24, 8)), path)
    with pytest.raises(CodesError, match=r"reconstruct its codes, found IndexBinaryHash"):
        open_codes(path)


def test_a_float_index_is_refused(tmp_path):
    path = str(tmp_path / "a.faiss")
    faiss.write_index(faiss.IndexFlatL2(8), path)
    with pytest.raises(CodesError, match=r"expected a Faiss binary index .*binarised first"):
        open_codes(path)


@pytest.mark.parametrize("name", ["other", "cut"])
def test_a_file_that_is_not_an_index_is_refused(tmp_path, name):
    path = tmp_path / "a.faiss"
    faiss.write_index_binary(flat(), str(path))
    content = path.read_bytes()
    path.write_bytes(b"other" * 9 if name == "other" else content[: len(content) // 2])
    with pytest.raises(CodesError, match="expected a Faiss binary index") as caught:
        open_codes(path)
    assert ".cpp" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_number_of_bits_is_checked_against_the_padding(tmp_path):
    path = tmp_path / "a.faiss"
    save_codes(path, CodeSet(pack(np.ones((4, 20), np.uint8)), 20))
    assert open_codes(path).n_bits == 24
    assert open_codes(path, n_bits=20).n_bits == 20
    with pytest.raises(CodesError, match=r"a\.faiss: .*zeros in the last 5 bits"):
        open_codes(path, n_bits=19)
    with pytest.raises(CodesError, match="16 bits, 16 with padding, found an index of 24"):
        open_codes(path, n_bits=16)

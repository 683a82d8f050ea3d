"""Faiss binary indexes: searching hashkit's files with Faiss, and reading Faiss's files."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from looped import looped

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


def empty_lists() -> faiss.IndexBinaryIVF:
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(24), 24, 4)
    index.own_fields = False
    index.keep = index.quantizer
    return index


def inverted_lists() -> faiss.IndexBinaryIVF:
    return filled(empty_lists())


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


def removed(index: faiss.IndexBinary, n_rows: int) -> faiss.IndexBinary:
    index.remove_ids(np.arange(n_rows))
    return index


def removed_last(index: faiss.IndexBinary) -> faiss.IndexBinary:
    index.remove_ids(np.array([299]))
    return index


def with_own_ids(index: faiss.IndexBinary) -> faiss.IndexBinary:
    if not index.is_trained:
        index.cp.min_points_per_centroid = 1
        index.train(CODES)
    index.add_with_ids(CODES, IDS)
    return index


def few_lists_of_many(direct_map: int = 0) -> faiss.IndexBinaryIVF:
    """Codes in a quarter of the lists, which Faiss then stores as pairs of list and size."""
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(24), 24, 64)
    index.own_fields = False
    index.keep = index.quantizer
    index.quantizer.add(np.random.default_rng(1).integers(0, 256, (64, 3), dtype=np.uint8))
    index.is_trained = True
    index.set_direct_map_type(direct_map)
    index.add(CODES[:8])
    return index


def from_float(floats: faiss.Index) -> faiss.IndexBinaryFromFloat:
    index = faiss.IndexBinaryFromFloat(floats)
    index.keep = floats
    return filled(index)


KINDS = {
    "flat": (flat, CODES, []),
    "flat, removed": (lambda: removed(flat(), 10), CODES[10:], []),
    "ids": (lambda: with_ids(faiss.IndexBinaryIDMap), CODES, IDS),
    "ids 2": (lambda: with_ids(faiss.IndexBinaryIDMap2), CODES, IDS),
    "ids, removed": (
        lambda: removed(with_ids(faiss.IndexBinaryIDMap), 50),
        CODES[7:],
        IDS[7:],
    ),
    "lists": (inverted_lists, CODES, []),
    "lists, own ids": (lambda: with_own_ids(empty_lists()), CODES, IDS),
    "lists, removed": (lambda: removed(inverted_lists(), 9), CODES[9:], range(9, 300)),
    "lists, last removed": (
        lambda: removed_last(inverted_lists()),
        CODES[:299],
        [],
    ),
    "lists, sparse": (few_lists_of_many, CODES[:8], []),
    "lists, array map": (lambda: few_lists_of_many(1), CODES[:8], []),
    "lists, hash map": (lambda: few_lists_of_many(2), CODES[:8], []),
    "graph": (lambda: filled(faiss.IndexBinaryHNSW(24, 8)), CODES, []),
    "graph on flat levels": (lambda: filled(faiss.IndexBinaryHNSWCagra(24, 8)), CODES, []),
    "hash": (lambda: filled(faiss.IndexBinaryHash(24, 8)), CODES, []),
    "hash, own ids": (lambda: with_own_ids(faiss.IndexBinaryHash(24, 8)), CODES, IDS),
    "multi-hash": (lambda: filled(faiss.IndexBinaryMultiHash(24, 2, 8)), CODES, []),
    "float": (lambda: from_float(faiss.IndexFlatL2(24)), CODES, []),
    "float, inner product": (lambda: from_float(faiss.IndexFlatIP(24)), CODES, []),
    "float, another metric": (lambda: from_float(faiss.IndexFlat(24, 4)), CODES, []),
    "empty": (lambda: faiss.IndexBinaryFlat(24), CODES[:0], []),
}


@looped("name", KINDS)
def test_every_index_gives_its_codes_and_ids(tmp_path, name):
    make, codes, ids = KINDS[name]
    path = tmp_path / "a.index"
    faiss.write_index_binary(make(), str(path))
    found = open_codes(path)
    assert found.n_bits == 24
    np.testing.assert_array_equal(found.codes, codes)
    assert list(found.names) == list(map(str, ids))
    path.rename(tmp_path / "without_suffix")
    np.testing.assert_array_equal(open_codes(tmp_path / "without_suffix").codes, codes)


def test_ids_over_inverted_lists_belong_to_their_codes(tmp_path):
    path = str(tmp_path / "a.index")
    lists = empty_lists()
    lists.train(CODES)
    index = faiss.IndexBinaryIDMap2(lists)
    index.add_with_ids(CODES, IDS)
    faiss.write_index_binary(index, path)
    found = open_codes(path)
    assert list(found.names) == list(map(str, IDS))
    np.testing.assert_array_equal(found.codes, CODES)
    lists.remove_ids(np.arange(5))
    index.ntotal, kept = 295, faiss.vector_to_array(index.id_map)[:295]
    faiss.copy_array_to_vector(kept, index.id_map)
    faiss.write_index_binary(index, path)
    with pytest.raises(CodesError, match="cannot be matched with the outer ids"):
        open_codes(path)


def test_the_ids_are_those_that_faiss_finds(tmp_path):
    """Not only equal sets: each name is the id that Faiss reports for that code."""
    path = str(tmp_path / "a.index")
    index = removed(with_own_ids(empty_lists()), 100)
    index.nprobe = 4
    faiss.write_index_binary(index, path)
    found = open_codes(path)
    distances, ids = index.search(np.asarray(found.codes), 1)
    assert not distances.any()
    by_code = {bytes(code): set() for code in found.codes}
    for code, name in zip(found.codes, found.names, strict=True):
        by_code[bytes(code)].add(int(name))
    assert all(
        number in by_code[bytes(code)] for code, number in zip(found.codes, ids[:, 0], strict=True)
    )


def test_lists_kept_in_another_file_are_refused(tmp_path):
    index = inverted_lists()
    lists = faiss.OnDiskInvertedLists(4, 3, str(tmp_path / "lists.data"))
    lists.merge_from(index.invlists, 0)
    index.replace_invlists(lists, False)
    faiss.write_index_binary(index, str(tmp_path / "a.faiss"))
    with pytest.raises(CodesError, match=r"inverted lists within the file, found 'ilod'"):
        open_codes(tmp_path / "a.faiss")


def test_a_float_index_inside_that_is_not_flat_is_refused(tmp_path):
    path = str(tmp_path / "a.faiss")
    faiss.write_index_binary(from_float(faiss.IndexHNSWFlat(24, 8)), path)
    with pytest.raises(CodesError, match=r"expected flat float vectors .*found 'IHNf'"):
        open_codes(path)


def test_a_float_index_is_refused(tmp_path):
    path = str(tmp_path / "a.faiss")
    faiss.write_index(faiss.IndexFlatL2(8), path)
    with pytest.raises(CodesError, match=r"expected a Faiss binary index.*binarised first"):
        open_codes(path)


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_index_gives_codes_or_a_one_line_error(tmp_path, name):
    path = tmp_path / "a.faiss"
    faiss.write_index_binary(KINDS[name][0](), str(path))
    content = path.read_bytes()
    random, found = np.random.default_rng(0), []
    for number in range(40):
        damaged = bytearray(content)
        if number % 2:
            del damaged[random.integers(4, len(content)) :]
        else:
            at = random.integers(4, min(len(content) - 8, 400))
            damaged[at : at + 8] = random.choice(
                [b"\xff" * 8, bytes(8), b"\xff" * 7 + b"\x7f", random.bytes(8)]
            )
        path.write_bytes(damaged)
        try:
            found.append(f"{len(open_codes(path))} codes")
        except CodesError as error:
            found.append(str(error))
    assert "\n" not in "".join(found)


@pytest.mark.parametrize("name", ["other", "cut"])
def test_a_file_that_is_not_an_index_is_refused(tmp_path, name):
    path = tmp_path / "a.faiss"
    faiss.write_index_binary(flat(), str(path))
    content = path.read_bytes()
    path.write_bytes(b"other" * 9 if name == "other" else content[: len(content) // 2])
    message = "expected a Faiss binary index" if name == "other" else "damaged or cut off"
    with pytest.raises(CodesError, match=message) as caught:
        open_codes(path)
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

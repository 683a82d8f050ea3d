"""Every file is written through `hashkit.files.writing`; the few exceptions have reasons."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from house import MODULES, tree_of
from looped import looped

WRITERS = {"hashkit.files.moving", "hashkit.files.private", "hashkit.files.writing"}
"""The modules that write files for all others."""

PRIVATE = {
    "TemporaryDirectory",
    "private_folder",
    "replaced_page",
    "replacing",
    "whole_file",
    "written_model",
    "written_whole",
}
"""Context managers whose path no other process has; what is written there needs no more care."""

WRITING = {
    "copy",
    "copy2",
    "copyfile",
    "copytree",
    "dump",
    "mkstemp",
    "move",
    "open_memmap",
    "rename",
    "save",
    "save_file",
    "save_model",
    "savetxt",
    "savez",
    "savez_compressed",
    "symlink_to",
    "tofile",
    "touch",
    "truncate",
    "write_bytes",
    "write_index_binary",
    "write_text",
}
"""Functions and methods that make or change a file."""

IN_PRIVATE_FOLDER = "its folder is a private one of the caller"
MEMORY = "it writes into memory"
TEMPORARY = "its folder is a temporary one of the system"
REASONS = {
    "hashkit.bank.bankfile._open": "a bank is written in place, in the order of its format",
    "hashkit.bank.reader.without": "it copies an object, not a file",
    "hashkit.bank.hdf5_creation.copy_to": "the file is that of `created_hdf5`",
    "hashkit.bank.hdf5_creation.created_hdf5": "the path is a private one of `replacing`",
    "hashkit.bank_set.replacing.replace_set": "shards of a private folder get free names, locked",
    "hashkit.cli.index._built": "it calls `MultiIndex.save`",
    "hashkit.cli.process._open_closed_streams": "these are the standard streams",
    "hashkit.cluster.ray_engine._native_messages_dropped": "this is the null device",
    "hashkit.datasets.download._fetch_part": "a download of a name of ours, held, is continued",
    "hashkit.datasets.download._receive": "a download of a name of ours, held, is continued",
    "hashkit.exporters.bench.comparison.__init__": TEMPORARY,
    "hashkit.exporters.int8.__init__": TEMPORARY,
    "hashkit.exporters.int8._answers": TEMPORARY,
    "hashkit.exporters.int8._prepare": TEMPORARY,
    "hashkit.exporters.onnx_files.check_and_save": "the path is a private one of `written_model`",
    "hashkit.exporters.web.folder._write_page": IN_PRIVATE_FOLDER,
    "hashkit.exporters.web.images._save": IN_PRIVATE_FOLDER,
    "hashkit.exporters.web.images.write_images": IN_PRIVATE_FOLDER,
    "hashkit.exporters.web.page_folder._move_in": "files are moved from a private folder",
    "hashkit.exporters.web.page_folder._publish": "a private folder gets its name",
    "hashkit.exporters.web.runtime.copy_runtime": IN_PRIVATE_FOLDER,
    "hashkit.imaging.jpeg.run_jpeg_kernel": MEMORY,
    "hashkit.formats.bank_set._publish": "a private folder gets its name",
    "hashkit.formats.lance._publish": "a private folder gets its name",
    "hashkit.formats.npz._write_array": "a member of an archive at a private path",
    "hashkit.report.thumbnails.thumbnail_address": MEMORY,
    "hashkit.runtimes.answers.save": TEMPORARY,
    "hashkit.runtimes.measuring.measuring.measure": TEMPORARY,
    "hashkit.server.pictures._as_jpeg": MEMORY,
    "hashkit.workflow.shard_job._published": "the list of faults of a shard that its writer locks",
    "hashkit.workflow.sync._rehearse": "it calls `Rehearsal.replace`",
    "hashkit.features.table.filled": "a table, held by its caller, is continued",
}
"""Functions that make or change files by themselves, and why they may."""


def writing_calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Function and line of each call that makes or changes a file at a path that may be shared."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            calls = [one for one in ast.walk(node) if isinstance(one, ast.Call) and _writes(one)]
            private = _private_names(node) if calls else set()
            for call in calls:
                if not _names(call) & private:
                    yield node.name, call.lineno


def _private_names(function: ast.FunctionDef) -> set[str]:
    """Names of private paths, and of what is made from them."""
    private: set[str] = set()
    for node in ast.walk(function):  # breadth first: a `with` comes before what is in it
        if isinstance(node, ast.withitem):
            value, target = node.context_expr, node.optional_vars
            is_private = isinstance(value, ast.Call) and _name(value.func) in PRIVATE
        elif isinstance(node, ast.Assign):
            value, (target, *_), is_private = node.value, node.targets, False
        else:
            continue
        if isinstance(target, ast.Name) and (is_private or _names(value) & private):
            private.add(target.id)
    return private


def _writes(call: ast.Call) -> bool:
    name = _name(call.func)
    if name in ("open", "File", "ZipFile", "ParquetWriter", "memmap"):
        texts = [
            argument.value
            for argument in [*call.args, *(one.value for one in call.keywords)]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        ]
        flags = {_name(one) for one in ast.walk(call) if isinstance(one, ast.Attribute)}
        return (
            name == "ParquetWriter"
            or any(set(text) <= set("rwaxbt+") and set(text) & set("wax+") for text in texts)
            or bool(flags & {"O_WRONLY", "O_RDWR", "O_CREAT"})
        )
    if name == "copy" and not call.args:  # a method of arrays
        return False
    if name in ("save", "write_text"):  # functions of these names return bytes, or are hashkit's
        return isinstance(call.func, ast.Attribute)
    if name == "replace":  # of a path; that of a text has two arguments
        return isinstance(call.func, ast.Attribute) and len(call.args) == 1 and not call.keywords
    return name in WRITING


def _names(expression: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(expression) if isinstance(node, ast.Name)}


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def found() -> dict[str, list[int]]:
    """Lines of such calls, by module and function."""
    calls: dict[str, list[int]] = {}
    for module, path in MODULES.items():
        if module not in WRITERS:
            for function, line in writing_calls(tree_of(path)):
                calls.setdefault(f"{module}.{function}", []).append(line)
    return calls


def test_files_are_written_by_one_module():
    calls = found()
    unexplained = {where: lines for where, lines in calls.items() if where not in REASONS}
    assert unexplained == {}
    assert sorted(REASONS.keys() - calls.keys()) == []  # reasons without a call


@looped(
    "line",
    [
        "path.write_text('x')",
        "path.write_bytes(b'x')",
        "open(path, 'w')",
        "path.open('ab')",
        "path.open(mode='r+')",
        "gzip.open(path, 'xb')",
        "os.open(path, os.O_RDWR | os.O_CREAT)",
        "np.save(path, codes)",
        "np.savez(path, codes=codes)",
        "np.lib.format.open_memmap(path, 'w+')",
        "codes.tofile(path)",
        "json.dump(document, file)",
        "image.save(path)",
        "h5py.File(path, 'w')",
        "zipfile.ZipFile(path, 'a')",
        "pyarrow.parquet.ParquetWriter(path, schema)",
        "faiss.write_index_binary(index, str(path))",
        "shutil.copyfile(source, path)",
        "part.replace(path)",
        "part.rename(path)",
        "tempfile.mkstemp()",
        "path.touch()",
    ],
)
def test_another_way_to_write_a_file_would_be_noticed(line):
    assert list(writing_calls(ast.parse(f"def f(path):\n    {line}"))) == [("f", 2)]


@looped(
    "line",
    [
        "path.open('rb')",
        "open(path)",
        "os.open(path, os.O_RDONLY)",
        "text.replace('a', 'b')",
        "dataclasses.replace(settings, seed=1)",
        "array.copy()",
        "write_text(path, 'x')",
        "with written_whole(path) as part:\n        part.write_text('x')",
        "with written_whole(path) as part, part.open('wb') as file:\n        np.savez(file)",
        "with private_folder(path) as part:\n        other = part / 'x'\n        other.touch()",
    ],
)
def test_reading_and_private_paths_are_let_through(line):
    assert list(writing_calls(ast.parse(f"def f(path):\n    {line}"))) == []

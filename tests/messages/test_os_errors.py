from __future__ import annotations

import errno
import os
from pathlib import Path

from looped import looped

from hashkit.messages.os_errors import cannot_write, os_error_line


@looped(
    ("error", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "(No space left on device); free some space, or choose another disk",
        ),
        (
            OSError(errno.EACCES, "Permission denied", "out.h5"),
            "(Permission denied); change its permissions or those of its folder",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "model.onnx"),
            "(model.onnx: Not a directory); a part of the path is a file, not a folder",
        ),
        (
            OSError("two\nlines of a library"),
            "(two lines of a library); fix that, or choose another path",
        ),
        (
            # As h5py and pyarrow word it, with their file name and a place in their source.
            OSError(errno.ENOSPC, "write failed: time = now\n, errno = 28, buf = 0x55ae"),
            f"({os.strerror(errno.ENOSPC)}); free some space, or choose another disk",
        ),
    ],
)
def test_a_line_has_the_file_the_reason_and_the_remedy(error, line):
    assert cannot_write(error, Path("out.h5")).startswith(f"out.h5: cannot be written {line}")


@looped(
    ("error", "line"),
    [
        (OSError(errno.EIO, "Input/output error", "a"), "a: Input/output error; the disk reports"),
        (OSError(errno.EIO, "Input/output error", b"a"), "a: Input/output error; the disk reports"),
        (OSError(errno.EIO, "Input/output error", 3), "Input/output error; the disk reports a"),
        (OSError(), "OSError; fix that"),
    ],
)
def test_an_error_that_no_other_code_explains(error, line):
    assert os_error_line(error).startswith(line)

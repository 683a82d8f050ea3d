"""Which compiled functions Python may call."""

from __future__ import annotations

import numpy as np
import pytest

from hashkit.kernels import words


def test_inner_kernels_refuse_python_before_and_after_they_are_compiled() -> None:
    for _ in range(2):
        for function, arguments in ((words.n_safe_rows, (5, 8)), (words.last_mask, (5,))):
            with pytest.raises(TypeError, match=f"{function.__name__} can only be called by ker"):
                function(*arguments)
        words.row_words(np.zeros((2, 8), np.uint8))

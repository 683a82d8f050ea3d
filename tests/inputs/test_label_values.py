"""Labels of every numeric type become integers, without a warning."""

from __future__ import annotations

import numpy as np
import pytest
from looped import looped

from hashkit.errors import CodesError
from hashkit.inputs.label_values import as_label_array


@looped("kind", ["f2", "f4", ">f4", "f8", "longdouble"])
def test_whole_numbers_of_any_float_are_labels(kind):
    labels = as_label_array(np.array([0, 3, -1, 2048], kind))
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 3, -1, 2048]


@looped("kind", ["f2", "f4", "f8", "longdouble"])
@looped("value", [0.5, np.nan, np.inf, -np.inf])
def test_other_numbers_are_refused(kind, value):
    with pytest.raises(CodesError, match="labels must be integers"):
        as_label_array(np.array([1, value], kind))

from __future__ import annotations

import numpy as np
import pytest
from looped import looped

from hashkit.baselines import method_named
from hashkit.codes import binarize
from hashkit.errors import HashkitError
from hashkit.features.fitting import fit_head
from hashkit.features.head import head_from_tensors
from hashkit.runs.known_names import FITTED, SPECTRAL

RNG = np.random.default_rng(0)
FEATURES = (RNG.standard_normal((300, 24)) @ RNG.standard_normal((24, 24)) + 5).astype(np.float32)
OTHERS = (RNG.standard_normal((100, 24)) * 4 + 5).astype(np.float32)


@looped("method", FITTED)
def test_a_head_gives_the_codes_of_its_method(method: str) -> None:
    head = head_from_tensors(fit_head(method, FEATURES, 16, seed=3), has_cosine=method == SPECTRAL)
    expected = method_named(method)(FEATURES, None, 16, 3)
    for features in (FEATURES, OTHERS):
        differing = np.bitwise_count(binarize(head(features)) ^ expected.encode(features)).sum()
        assert differing <= 2  # logits that round to the other side of 0
    assert head.n_bits == 16


@pytest.mark.parametrize("method", ["itq", "pcah", "lsh"])
def test_logits_have_a_root_mean_square_of_1(method: str) -> None:
    logits = head_from_tensors(fit_head(method, FEATURES, 16, seed=0))(FEATURES)
    assert np.square(logits).mean() == pytest.approx(1, rel=1e-3)


@looped("method", FITTED)
def test_features_that_cannot_be_fitted_are_a_one_line_error(method: str) -> None:
    for features in (np.ones((9, 24), np.float32), np.full((9, 24), np.nan, np.float32)):
        with pytest.raises(HashkitError) as caught:
            fit_head(method, features, 16, seed=0)
        assert "\n" not in str(caught.value)

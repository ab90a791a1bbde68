import numpy as np
import pytest

from seqjax.errors import UserError
from seqjax.search.hypotheses import length_norms


@pytest.mark.parametrize(
    ("normalization", "penalty", "expected"),
    [
        ("gnmt", 1.0, [1.0, 1.0, 7 / 6, 8 / 6]),
        ("gnmt", 0.6, [1.0, 1.0, 1.0969026, 1.1884016]),
        ("gnmt", -1.0, [1.0, 1.0, 6 / 7, 6 / 8]),
        ("plain", 1.0, [1.0, 1.0, 2.0, 3.0]),
        ("plain", 0.5, [1.0, 1.0, 1.4142135, 1.7320508]),
        ("plain", -1.0, [1.0, 1.0, 1 / 2, 1 / 3]),
        ("none", 5.0, [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_norms(normalization, penalty, expected):
    norms = length_norms(normalization, penalty, 3)
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norms, expected, rtol=1e-6)


def test_unknown_normalization_names_field_and_choices():
    with pytest.raises(
        UserError, match=r"decode\.length_normalization = 'gmnt': expected .*'gnmt'"
    ):
        length_norms("gmnt", 0.6, 3)

import numpy as np
import pytest

from seqjax.data.tokenizer import EOS
from seqjax.evaluation.attender import Attender
from seqjax.parallel.mesh import make_mesh

SOURCES = [[5, 6, EOS], [7, 4, 8, 9, 5, EOS], [EOS]]
OUTPUTS = [[4, 8, 9, EOS], [6, EOS], [5, EOS]]


@pytest.mark.parametrize("tokens", [8, 512])
def test_every_pair_has_its_own_weights_whatever_its_company(tokens, tiny_task, tiny_params):
    task = tiny_task(tokens=tokens)
    attender = Attender(task, make_mesh(1))
    found = dict(attender(tiny_params(task), SOURCES, OUTPUTS))
    assert sorted(found) == [0, 1, 2]
    for i, layers in found.items():
        (weights,) = layers
        assert weights.shape == (2, len(OUTPUTS[i]), len(SOURCES[i]))
        np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)
        ((_, (alone,)),) = attender(tiny_params(task), SOURCES[i : i + 1], OUTPUTS[i : i + 1])
        np.testing.assert_allclose(alone, weights, rtol=1e-5, atol=1e-6)
    # It depends on what has been produced before, and not on what comes after.
    other = [[4, 9, 9, EOS], *OUTPUTS[1:]]
    (changed,) = dict(attender(tiny_params(task), SOURCES, other))[0]
    np.testing.assert_allclose(changed[:, :2], found[0][0][:, :2], rtol=1e-5)
    assert np.abs(changed[:, 2] - found[0][0][:, 2]).max() > 1e-4

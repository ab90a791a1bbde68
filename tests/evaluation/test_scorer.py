import jax
import numpy as np
import pytest

from seqjax.data.tokenizer import PAD
from seqjax.evaluation.scorer import Score, Scorer
from seqjax.parallel.mesh import make_mesh, replicated

PAIRS = [("abc", "cba"), ("g", ""), ("fedcba", "abcdef gg"), ("c d", "d c"), ("abcdefg", "a")]


@pytest.mark.parametrize(("devices", "tokens"), [(1, 16), (8, 4096)])
def test_each_pair_has_the_score_that_it_has_alone(devices, tokens, tiny_task, tiny_params):
    task = tiny_task(tokens=tokens, shapes=2)
    mesh = make_mesh(devices)
    params = tiny_params(task)
    sources = task.encode_sources([source for source, _ in PAIRS])
    targets = task.encode_sources([target for _, target in PAIRS])
    found = Scorer(task, mesh)(jax.device_put(params, replicated(mesh)), sources, targets)
    alone = jax.jit(task.score)
    for score, *pair in zip(found, sources, targets, strict=True):
        rows = [np.array([ids + [PAD] * (12 - len(ids))], np.int32) for ids in pair]
        expected, _ = alone(params, dict(zip(("source", "target"), rows, strict=True)))
        assert score.log_probability == pytest.approx(-float(expected["nll"][0]), rel=1e-4)
        assert (score.length, score.correct) == (len(pair[1]), int(expected["correct"][0]))
        assert score.log_probability < 0


def test_of_no_pairs_there_are_no_scores(tiny_task):
    assert Scorer(tiny_task(), make_mesh(1))({}, [], []) == []
    assert Score(-1.0, 2, 1).length == 2

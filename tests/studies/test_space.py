import math
import random

import numpy as np
import pytest

from seqjax.errors import UserError
from seqjax.studies.space import check_space, choice, integers, log_uniform, uniform

_DOMAINS = [
    (uniform(0.0, 0.5), "uniform(0.0, 0.5)", ()),
    (log_uniform(1e-4, 1e-2), "log_uniform(0.0001, 0.01)", ()),
    (integers(1, 4), "integers(1, 4)", (1, 2, 3, 4)),
    (integers(64, 192, step=64), "integers(64, 192, step=64)", (64, 128, 192)),
    (choice("dot", "additive"), "choice('dot', 'additive')", ("dot", "additive")),
]


@pytest.mark.parametrize(("domain", "text", "points"), _DOMAINS)
def test_a_domain_is_printed_as_it_is_written_and_counts_its_values(domain, text, points):
    assert str(domain) == text
    assert eval(text) == domain
    assert tuple(domain.points()) == points


@pytest.mark.parametrize(("domain", "text", "points"), _DOMAINS)
def test_draws_lie_in_the_domain_and_reach_all_of_it(domain, text, points):
    drawn = [domain.draw(random.Random(seed)) for seed in range(200)]
    if points:
        assert set(drawn) == set(points)
    else:
        scale = math.log if domain.log else float
        places = [(scale(value) - scale(domain.low)) for value in drawn]
        places = [place / (scale(domain.high) - scale(domain.low)) for place in places]
        assert 0 <= min(places) < 0.05 and 0.95 < max(places) <= 1
        assert 0.4 < sum(places) / len(places) < 0.6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: log_uniform(0, 1), "log_uniform(0, 1): expected 0 < low < high"),
        (lambda: uniform(2, 1), "uniform(2, 1): expected low < high"),
        (lambda: uniform(0, math.inf), "uniform(0, inf): expected low < high"),
        (lambda: integers(1, 4, step=2), "integers(1, 4, step=2): expected whole numbers, "),
        (lambda: integers(1, 4, step=0), "integers(1, 4, step=0): expected whole numbers, "),
        (lambda: integers(4, 1), "integers(4, 1): expected whole numbers, low < high"),
        (lambda: integers(1.0, 4), "integers(1.0, 4): expected whole numbers, "),
        (lambda: choice(), "choice(): expected at least one value"),
        (lambda: choice(1, 1), "choice(1, 1): expected at least one value, and each of them once"),
    ],
)
def test_what_is_no_domain_is_reported(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "the space is empty: expected at least one field"),
        ({"optimizer.rate": uniform(0, 1)}, "optimizer.rate: the config has no such field"),
        ({"model.encoder": choice(1)}, "model.encoder = 1: names a section; choose one of "),
        ({"seed": uniform(0.0, 9.0)}, "seed = 0.0: expected a whole number"),
        ({"model.encoder.dropout": uniform(0, 1)}, "model.encoder.dropout = 1.0: expected 0 or"),
        ({"model.encoder.layers": integers(0, 2)}, "model.encoder.layers = 0: expected at least"),
        ({"optimizer.kind": choice("adam", "adamv")}, "optimizer.kind = 'adamv': expected one of"),
        ({"seed": [1, 2]}, "seed: [1, 2] is no range: expected uniform(low, high), "),
    ],
)
def test_a_space_is_checked_against_the_config(space, message):
    with pytest.raises(UserError) as caught:
        check_space(space)
    assert str(caught.value).startswith(message)


def test_a_number_may_be_whole():
    check_space({"optimizer.learning_rate": choice(1, 0.5), "model.encoder.width": choice(64)})


def test_numbers_of_numpy_become_pythons_own():
    domains = [
        uniform(np.float32(0.1), np.int64(1)),
        log_uniform(*np.array([0.5, 2.0])),
        integers(np.int64(1), np.int32(4), np.uint8(3)),
        choice(np.int64(1), np.float32(0.1), np.str_("a"), np.bool_(True), np.array(["b"])),
    ]
    assert list(map(str, domains)) == [
        "uniform(0.1, 1)",
        "log_uniform(0.5, 2.0)",
        "integers(1, 4, step=3)",
        "choice(1, 0.1, 'a', True, ('b',))",
    ]

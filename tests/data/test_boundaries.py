import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.config import default_config
from seqjax.data.boundaries import Bins, best_boundaries, steps_downwards, steps_upwards
from seqjax.data.buckets import Buckets, evaluation_plan

SETTINGS = settings(derandomize=True, deadline=None, max_examples=80)


def all_boundaries(bins, most):
    last = bins - 1
    for shapes in range(1, min(most, bins) + 1):
        for cut in itertools.combinations(range(last), shapes - 1):
            yield [*cut, last]


def positions(bins, boundaries, downwards):
    """Counts batches one example at a time."""
    shape_of = np.searchsorted(boundaries, np.repeat(np.arange(len(bins.counts)), bins.counts))
    rows, sizes = bins.rows[boundaries], bins.sizes[boundaries]
    total, batch = 0, []
    if downwards:
        # A batch has the shape of its first, which is its longest.
        for shape in shape_of[::-1]:
            batch = batch or [shape]
            batch.append(shape)
            if len(batch) > rows[batch[0]]:
                total, batch = total + rows[batch[0]] * sizes[batch[0]], []
        return total + (rows[batch[0]] * sizes[batch[0]] if batch else 0)
    waiting = 0
    for shape in range(len(boundaries)):
        waiting += int((shape_of == shape).sum())
        while waiting >= rows[shape]:
            total, waiting = total + rows[shape] * sizes[shape], waiting - rows[shape]
    return total + (rows[-1] * sizes[-1] if waiting else 0)


@st.composite
def histograms(draw):
    counts = np.array(draw(st.lists(st.integers(1, 40), min_size=1, max_size=8)))
    steps = st.lists(st.integers(1, 9), min_size=len(counts), max_size=len(counts))
    sizes = np.cumsum(draw(steps))
    rows = np.minimum(np.maximum(draw(st.integers(1, 200)) // sizes, 1), counts.sum())
    return Bins(counts, sizes, rows)


@pytest.mark.parametrize("downwards", [False, True])
@SETTINGS
@given(histograms(), st.integers(1, 8))
def test_no_other_boundaries_have_fewer_positions(downwards, bins, most):
    found = best_boundaries(bins, most, downwards)
    fewest, shapes = min(
        (positions(bins, other, downwards), len(other))
        for other in all_boundaries(len(bins.counts), most)
    )
    assert positions(bins, found, downwards) == fewest
    assert len(found) == shapes


@SETTINGS
@given(histograms())
def test_steps_are_those_of_the_batches(bins):
    for count, downwards in ((steps_upwards, False), (steps_downwards, True)):
        steps = count(bins.counts, bins.rows)
        every = list(range(len(bins.counts)))
        assert (steps * bins.rows * bins.sizes).sum() == positions(bins, every, downwards)


@pytest.mark.parametrize("seed", range(6))
def test_plans_are_the_best_that_their_lengths_allow(seed):
    """Small corpora, whose last batches are a large part: an approximation lost 4 % of them."""
    random = np.random.default_rng(seed)
    source = random.integers(1, 40, random.integers(50, 400)).astype(np.int32)
    target = np.clip(source + random.integers(-5, 6, len(source)), 1, None).astype(np.int32)
    batching = default_config().batching
    batching.update(tokens=int(random.integers(100, 1500)), shapes=3)
    lengths = {"source": source, "target": target}
    plan = Buckets(lengths, batching, seed=0)
    batches = evaluation_plan(lengths, batching.tokens, 4, shapes=3)
    bins = _bins(source, target, batching.tokens)
    training = [plan.batch(step).shape for step in range(plan.steps_per_epoch)]
    evaluation = [batch.shape for batch in batches]
    for downwards, shapes in ((False, training), (True, evaluation)):
        fewest = min(
            positions(bins, other, downwards) for other in all_boundaries(len(bins.counts), 3)
        )
        assert sum(shape.positions for shape in shapes) == fewest


def _bins(source, target, tokens):
    """Bins of four lengths each, as the plan has them."""
    kept = []
    for end in range(4, 4 * 20, 4):
        inside = (np.maximum(source, target) <= end) & (np.maximum(source, target) > end - 4)
        if inside.any():
            until = np.maximum(source, target) <= end
            sides = [int(-(-side[until].max() // 4) * 4) for side in (source, target)]
            rows = tokens // max(sides)
            rows = rows // 8 * 8 if rows >= 8 else max(rows, 1)
            kept.append((int(inside.sum()), sum(sides), min(rows, len(source))))
    return Bins(*map(np.array, zip(*kept, strict=True)))


def test_more_bins_and_shapes_than_brute_force_can_try():
    """Each number of shapes finds what fewer find, or better."""
    random = np.random.default_rng(0)
    lengths = np.arange(1, 100)
    bins = Bins(random.integers(1, 900, 99), 2 * lengths, 4096 // lengths)
    fewest = [positions(bins, best_boundaries(bins, most), False) for most in range(1, 9)]
    assert fewest == sorted(fewest, reverse=True) and len(set(fewest)) == 8

import threading
import time

import numpy as np
import pytest
from ml_collections import ConfigDict

from seqjax.config import default_config
from seqjax.data.batching import PlannedBatch, Shape, TrainingPlan
from seqjax.data.loader import Loader, SubwordSampling, assemble
from seqjax.data.pair import Pair
from seqjax.data.subwords import train_subwords
from seqjax.data.tokenizer import EOS, Tokenizers
from seqjax.data.tokens import Sequences, TokenizedCorpus, tokenize

BATCHING = ConfigDict(dict(kind="tokens", tokens=64, sentences=8, shapes=3, multiple=4))


def sequences(rows: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences(np.concatenate(rows).astype(np.uint16), offsets)


@pytest.fixture
def corpus() -> TokenizedCorpus:
    random = np.random.default_rng(0)

    def side():
        return sequences([[*random.integers(4, 99, n), EOS] for n in random.integers(0, 20, 80)])

    return TokenizedCorpus(side(), side(), np.arange(80), {})


@pytest.fixture
def plan(corpus) -> TrainingPlan:
    return TrainingPlan(corpus.source_lengths, corpus.target_lengths, BATCHING, seed=0)


def assert_equal(left: list[dict], right: list[dict]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_assemble_golden():
    corpus = TokenizedCorpus(
        sequences([[7, 8, EOS], [EOS]]), sequences([[9, EOS], [5, 6, 4, EOS]]), np.arange(2), {}
    )
    batch = assemble(corpus, PlannedBatch(Shape(3, 4, 5), np.array([1, -1, 0])))
    assert batch["source"].tolist() == [[2, 0, 0, 0], [0, 0, 0, 0], [7, 8, 2, 0]]
    assert batch["target"].tolist() == [[5, 6, 4, 2, 0], [0, 0, 0, 0, 0], [9, 2, 0, 0, 0]]
    assert batch["index"].tolist() == [1, -1, 0]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}


def test_assemble_refuses_a_shape_that_is_too_small():
    corpus = TokenizedCorpus(sequences([[7, 8, EOS]]), sequences([[EOS]]), np.arange(1), {})
    with pytest.raises(ValueError, match="3 tokens does not fit into 2"):
        assemble(corpus, PlannedBatch(Shape(1, 2, 2), np.array([0])))


def test_assembled_batches_hold_the_corpus(corpus, plan):
    for step in range(plan.steps_per_epoch):
        batch = assemble(corpus, plan.batch(step))
        for row, example in enumerate(batch["index"]):
            for name, side in (("source", corpus.source), ("target", corpus.target)):
                expected = side(example) if example >= 0 else np.zeros(0)
                width = len(expected)
                np.testing.assert_array_equal(batch[name][row, :width], expected)
                assert not batch[name][row, width:].any()


def test_parts_of_a_batch_make_up_the_whole(corpus, plan):
    planned = plan.batch(0)
    half = planned.shape.rows // 2
    parts = [assemble(corpus, planned, part) for part in (slice(0, half), slice(half, None))]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert_equal([whole], [assemble(corpus, planned)])


def test_loader_yields_the_batches_of_its_steps(corpus, plan):
    steps = range(3, 2 * plan.steps_per_epoch)
    expected = [assemble(corpus, plan.batch(step)) for step in steps]
    with Loader(corpus, plan, steps.start, steps.stop) as loader:
        assert_equal(list(loader), expected)
        assert next(loader, None) is None
    assert not threads()


def test_resume_in_the_middle_yields_the_same_batches(corpus, plan):
    last = 2 * plan.steps_per_epoch
    with Loader(corpus, plan, 0, last) as loader:
        whole = list(loader)
    fresh = TrainingPlan(corpus.source_lengths, corpus.target_lengths, BATCHING, seed=0)
    with Loader(corpus, fresh, 5, last, prefetch=1) as loader:
        assert_equal(list(loader), whole[5:])


def test_place_runs_in_the_thread(corpus, plan):
    def place(batch, rows):
        assert rows == len(batch["index"])
        return threading.current_thread().name, batch["index"].shape

    with Loader(corpus, plan, 0, 2, place) as loader:
        shapes = [plan.batch(step).rows.shape for step in range(2)]
        assert list(loader) == [("loader", shape) for shape in shapes]


def test_an_error_reaches_the_consumer_after_the_batches_before_it(corpus, plan):
    placed = []

    def place(batch, rows):
        if len(placed) == 2:
            raise MemoryError("no room")
        placed.append(batch)
        return batch

    with Loader(corpus, plan, 0, 9, place) as loader:
        assert_equal([next(loader), next(loader)], placed)
        with pytest.raises(MemoryError, match="no room"):
            next(loader)
        assert next(loader, None) is None
    assert not threads()


def test_at_most_prefetch_batches_wait_and_close_ends_a_blocked_thread(corpus, plan):
    placed = []
    loader = Loader(corpus, plan, 0, 10**9, lambda *batch: placed.append(batch), prefetch=2)
    deadline = time.monotonic() + 5
    while len(placed) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(placed) == 3  # Two wait in the queue, the third for room.
    loader.close()
    assert not threads()
    assert next(loader, None) is None
    loader.close()


def test_close_wakes_a_consumer_that_waits(corpus, plan):
    released = threading.Event()
    results = []

    def place(batch, rows):
        released.wait(5)
        return batch

    loader = Loader(corpus, plan, 0, 5, place)
    consumer = threading.Thread(target=lambda: results.extend(loader))
    consumer.start()
    closer = threading.Thread(target=loader.close)
    closer.start()
    released.set()
    closer.join(5)
    consumer.join(5)
    assert not consumer.is_alive() and not closer.is_alive()


TEXTS = [
    f"der {a} {b} im {c}" for a in ("Hund", "Mann") for b in ("singt", "rennt") for c in "abcd"
]


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """Pairs, tokenizers with BPE-dropout, the tokenized corpus and a plan with much room."""
    pairs = [Pair(text, text[::-1]) for text in [*TEXTS, " ".join(TEXTS[:6])]]
    texts = [text for pair in pairs for text in pair]
    subwords = train_subwords("bpe", texts, 60, lowercase=False, sampling=0.5)
    data = default_config().data
    data.cache = str(tmp_path_factory.mktemp("cache"))
    data.max_source_length = data.max_target_length = 99

    class Pairs(list):
        fingerprint = "pairs"

    tokenizers = Tokenizers(subwords, subwords)
    tokenized = tokenize(Pairs(pairs), tokenizers, data, training=True)
    batching = ConfigDict({**BATCHING, "multiple": 32, "tokens": 128})
    plan = TrainingPlan(tokenized.source_lengths, tokenized.target_lengths, batching, seed=0)
    return pairs, tokenizers, tokenized, plan


def test_sampling_is_a_function_of_seed_epoch_and_example(sampled):
    pairs, tokenizers, tokenized, plan = sampled
    last = 2 * plan.steps_per_epoch

    def by_example(first, seed=0):
        sampling = SubwordSampling(pairs, tokenizers, tokenized, seed)
        found = {}
        with Loader(tokenized, plan, first, last, sampling=sampling) as loader:
            for step, batch in enumerate(loader, first):
                for row, example in enumerate(batch["index"]):
                    key = step // plan.steps_per_epoch, int(example)
                    found[key] = batch["source"][row].tolist(), batch["target"][row].tolist()
        return found

    whole = by_example(0)
    for key, row in by_example(last - 3).items():
        assert whole[key] == row
    examples = range(len(tokenized))
    assert any(whole[0, i] != whole[1, i] for i in examples)
    assert any(row != whole[key] for key, row in by_example(0, seed=1).items())
    for (_, example), row in whole.items():
        if example >= 0:
            assert tuple(map(tokenizers.source.decode, row)) == pairs[example]


def test_room_lets_most_sampled_segmentations_in(sampled):
    pairs, tokenizers, tokenized, _ = sampled
    sampling = SubwordSampling(pairs, tokenizers, tokenized, seed=0)
    room = sampling.room()
    assert min(room) > 1.2

    def share_changed(room):
        lengths = tokenized.source_lengths, tokenized.target_lengths
        plan = TrainingPlan(*lengths, ConfigDict({**BATCHING, "multiple": 1}), 0, room=room)
        changed = []
        for step in range(plan.steps_per_epoch):
            plain = assemble(tokenized, plan.batch(step))
            new = sampling(plain, epoch=1)
            changed += (plain["source"] != new["source"]).any(1)[plain["index"] >= 0].tolist()
        return np.mean(changed)

    assert share_changed(room) > share_changed((1.0, 1.0)) + 0.2


def test_a_sampled_segmentation_that_does_not_fit_is_not_taken(sampled):
    pairs, tokenizers, tokenized, _ = sampled
    shape = Shape(1, int(tokenized.source_lengths[0]), int(tokenized.target_lengths[0]))
    batch = assemble(tokenized, PlannedBatch(shape, np.array([0])))
    sampling = SubwordSampling(pairs, tokenizers, tokenized, seed=0)
    epochs = [sampling(batch, epoch) for epoch in range(20)]
    longer = [len(tokenizers.source.sample(pairs[0].source, seed)) for seed in range(20)]
    assert max(longer) >= shape.source
    for sampled_batch in epochs:
        assert tokenizers.source.decode(sampled_batch["source"][0]) == pairs[0].source
        assert tokenizers.target.decode(sampled_batch["target"][0]) == pairs[0].target

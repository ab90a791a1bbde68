import threading
import time

import numpy as np
import pytest
from ml_collections import ConfigDict

from seqjax.config import default_config
from seqjax.data.buckets import Buckets
from seqjax.data.examples import Examples, Feature, Sequences, tokenize
from seqjax.data.gather import gather
from seqjax.data.loader import Loader, SubwordSampling
from seqjax.data.plan import PlannedBatch, Shape, whole
from seqjax.data.subwords import train_subwords
from seqjax.data.tokenizer import EOS, Tokenizers

BATCHING = ConfigDict(dict(kind="tokens", tokens=64, sentences=8, shapes=3, multiple=4))


def sequences(rows: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0] + [len(row) for row in rows])
    return Sequences(np.concatenate(rows).astype(np.uint16), offsets)


@pytest.fixture
def corpus() -> Examples:
    random = np.random.default_rng(0)

    def side():
        return sequences([[*random.integers(4, 99, n), EOS] for n in random.integers(0, 20, 80)])

    return Examples({"source": side(), "target": side()}, np.arange(80), {})


@pytest.fixture
def plan(corpus) -> Buckets:
    return Buckets(corpus.lengths, BATCHING, seed=0)


def assert_equal(left: list[dict], right: list[dict]) -> None:
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "loader"]


def test_parts_of_a_batch_make_up_the_whole(corpus, plan):
    planned = plan.batch(0)
    half = planned.shape.rows // 2
    parts = [gather(corpus, planned, part) for part in (slice(0, half), slice(half, None))]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert_equal([joined], [gather(corpus, planned)])


def test_loader_yields_the_batches_of_its_steps(corpus, plan):
    steps = range(3, 2 * plan.steps_per_epoch)
    expected = [gather(corpus, plan.batch(step)) for step in steps]
    with Loader(corpus, plan, steps.start, steps.stop) as loader:
        assert_equal(list(loader), expected)
        assert next(loader, None) is None
    assert not threads()


def test_resume_in_the_middle_yields_the_same_batches(corpus, plan):
    last = 2 * plan.steps_per_epoch
    with Loader(corpus, plan, 0, last) as loader:
        batches = list(loader)
    fresh = Buckets(corpus.lengths, BATCHING, seed=0)
    with Loader(corpus, fresh, 5, last, prefetch=1) as loader:
        assert_equal(list(loader), batches[5:])


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
    texts = [*TEXTS, " ".join(TEXTS[:6])]
    pairs = [{"source": text, "target": text[::-1]} for text in texts]
    texts = [text for pair in pairs for text in pair.values()]
    subwords = train_subwords("bpe", texts, 60, lowercase=False, sampling=0.5)
    data = default_config().data
    data.cache = str(tmp_path_factory.mktemp("cache"))

    class Pairs(list):
        fingerprint = "pairs"

    tokenizers = Tokenizers({"source": subwords, "target": subwords})
    features = [Feature("source", 99), Feature("target", 99)]
    examples = tokenize(Pairs(pairs), tokenizers, data, features, training=True)
    batching = ConfigDict({**BATCHING, "multiple": 32, "tokens": 128})
    return pairs, tokenizers, examples, Buckets(examples.lengths, batching, seed=0)


def test_sampling_is_a_function_of_seed_epoch_and_example(sampled):
    pairs, tokenizers, examples, plan = sampled
    last = 2 * plan.steps_per_epoch

    def by_example(first, seed=0):
        sampling = SubwordSampling(pairs, tokenizers, examples, seed)
        found = {}
        with Loader(examples, plan, first, last, sampling=sampling) as loader:
            for step, batch in enumerate(loader, first):
                for row, example in enumerate(batch["index"]):
                    key = step // plan.steps_per_epoch, int(example)
                    found[key] = batch["source"][row].tolist(), batch["target"][row].tolist()
        return found

    rows = by_example(0)
    for key, row in by_example(last - 3).items():
        assert rows[key] == row
    assert any(rows[0, i] != rows[1, i] for i in range(len(examples)))
    assert any(row != rows[key] for key, row in by_example(0, seed=1).items())
    for (_, example), row in rows.items():
        if example >= 0:
            texts = map(tokenizers["source"].decode, row)
            assert list(texts) == list(pairs[example].values())


def test_room_lets_most_sampled_segmentations_in(sampled):
    pairs, tokenizers, examples, _ = sampled
    sampling = SubwordSampling(pairs, tokenizers, examples, seed=0)
    room = sampling.room()
    assert min(room.values()) > 1.2

    def share_changed(room):
        batching = ConfigDict({**BATCHING, "multiple": 1})
        plan = Buckets(examples.lengths, batching, 0, room=room)
        changed = []
        for step in range(plan.steps_per_epoch):
            plain = gather(examples, plan.batch(step))
            new = sampling(plain, epoch=1)
            changed += (plain["source"] != new["source"]).any(1)[plain["index"] >= 0].tolist()
        return np.mean(changed)

    assert share_changed(room) > share_changed({"source": 1.0, "target": 1.0}) + 0.2


def test_a_sampled_segmentation_that_does_not_fit_is_not_taken(sampled):
    pairs, tokenizers, examples, _ = sampled
    shape = Shape.of(1, **{name: int(each[0]) for name, each in examples.lengths.items()})
    batch = gather(examples, PlannedBatch(shape, whole(np.array([0]))))
    sampling = SubwordSampling(pairs, tokenizers, examples, seed=0)
    epochs = [sampling(batch, epoch) for epoch in range(20)]
    longer = [len(tokenizers["source"].sample(pairs[0]["source"], seed)) for seed in range(20)]
    assert max(longer) >= shape["source"]
    for sampled_batch in epochs:
        for name, text in pairs[0].items():
            assert tokenizers[name].decode(sampled_batch[name][0]) == text

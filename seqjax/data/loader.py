"""Turns planned batches into arrays on the devices, ahead of time in a background thread."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from seqjax.data.examples import Examples, unless_blank
from seqjax.data.gather import Batch, gather
from seqjax.data.plan import Plan
from seqjax.data.record import Corpus
from seqjax.data.tokenizer import EOS, PAD, Tokenizers

_END = object()
_MEASURED = 1000  # Records sampled to measure how much longer sampled segmentations are.
_FITTING = 90  # Percentage of sampled segmentations that a plan has room for.


class SubwordSampling:
    """Segments the texts of a batch anew in every epoch (subword regularization, Kudo 2018).

    A segmentation is a pure function of seed, epoch and the record's index in the corpus. A feature
    keeps its plain segmentation if the sampled one is longer than the batch is wide; plan with
    `room`, so that this happens to few.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizers: Tokenizers,
        examples: Examples,
        seed: int,
        before: int = 0,
    ):
        """Takes what is segmented; `before` is 1 if BOS comes before each example, otherwise 0."""
        self._corpus = corpus
        self._tokenizers = tokenizers
        self._examples = examples
        self._seed, self._before = seed, before

    def __call__(self, batch: Batch, epoch: int) -> Batch:
        """Returns the batch with all features segmented anew."""
        anew = {name: batch[name].copy() for name in self._tokenizers}
        for row, example in enumerate(batch["index"]):
            if example < 0:
                continue
            index = int(self._examples.indices[example])
            for name, ids in self._sample(index, epoch).items():
                _replace(anew[name][row, self._before :], ids)
        return batch | anew

    def room(self) -> dict[str, float]:
        """Returns the factors that nine of ten sequences of each feature grow by at most."""
        examples = self._examples
        rows = np.unique(np.linspace(0, len(examples) - 1, _MEASURED).astype(int))
        sampled = [self._sample(int(examples.indices[row]), epoch=0) for row in rows]
        room = {}
        for name, plain in examples.lengths.items():
            lengths = np.array([len(ids[name]) + 1 for ids in sampled])
            room[name] = max(1.0, float(np.percentile(lengths / plain[rows], _FITTING)))
        return room

    def _sample(self, index: int, epoch: int) -> dict[str, list[int]]:
        record = self._corpus[index]
        sequence = np.random.SeedSequence((self._seed, epoch, index))
        seeds = sequence.generate_state(len(self._tokenizers))
        return {
            name: tokenizer.sample(unless_blank(record[name]), int(seed))
            for (name, tokenizer), seed in zip(self._tokenizers.items(), seeds, strict=True)
        }


def _replace(row: np.ndarray, ids: list[int]) -> None:
    if len(ids) < len(row):
        row[:] = PAD
        row[: len(ids)] = ids
        row[len(ids)] = EOS


class Loader:
    """Iterates over the batches of steps `first_step` to `last_step - 1`.

    A thread assembles up to `prefetch` batches ahead. `part` selects the rows of a batch that this
    process holds, given the number of all rows; `place` takes these rows and that number, and
    usually puts them on the devices. An error in the thread is raised in place of the batch. Use a
    loader in a `with` statement, or call `close`.
    """

    def __init__(
        self,
        examples: Examples,
        plan: Plan,
        first_step: int,
        last_step: int,
        place: Callable[[Batch, int], Any] = lambda batch, rows: batch,
        prefetch: int = 2,
        sampling: SubwordSampling | None = None,
        part: Callable[[int], slice] = lambda rows: slice(None),
    ):
        self._examples = examples
        self._plan = plan
        self._steps = range(first_step, last_step)
        self._place = place
        self._sampling = sampling
        self._part = part
        self._stopped = threading.Event()
        self._ready: queue.Queue = queue.Queue(max(1, prefetch))
        self._thread = threading.Thread(target=self._work, name="loader", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._stopped.is_set():
            raise StopIteration
        batch, error = self._ready.get()
        if error is not None:
            self.close()
            raise error
        if batch is _END:
            self.close()
            raise StopIteration
        return batch

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the thread, even if it waits for room, and the iteration."""
        self._stopped.set()
        while self._thread.is_alive():
            self._drain()
            self._thread.join(0.01)
        self._drain()
        with contextlib.suppress(queue.Full):  # Full only if another `close` was faster.
            self._ready.put_nowait((_END, None))  # Wakes a consumer that waits in another thread.

    def _drain(self) -> None:
        while True:
            try:
                self._ready.get_nowait()
            except queue.Empty:
                return

    def _work(self) -> None:
        try:
            for step in self._steps:
                if self._stopped.is_set():
                    return
                self._ready.put((self._make(step), None))
            self._ready.put((_END, None))
        except BaseException as error:  # Whatever it is, the consumer must not wait forever.
            self._ready.put((None, error))

    def _make(self, step: int) -> Any:
        planned = self._plan.batch(step)
        rows = planned.shape.rows
        batch = gather(self._examples, planned, self._part(rows))
        if self._sampling is not None:
            batch = self._sampling(batch, step // self._plan.steps_per_epoch)
        return self._place(batch, rows)

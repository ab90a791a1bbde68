"""A small decoder whose probabilities depend on the sentence, the position and the whole past."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.contract import Carry
from seqjax.data.tokenizer import BOS, EOS

STATES = 23
POSITIONS = 12


class HistoryModel:
    """Hidden state = a hash of all tokens so far; logits = a fixed table of it."""

    def __init__(self, sentences: int, vocabulary: int, end: float = 0.0, spread: float = 1.5):
        shape = (sentences, POSITIONS, STATES, vocabulary)
        wave = np.sin(np.arange(np.prod(shape), dtype=np.float64) ** 1.3).reshape(shape)
        self.logits = (spread * wave).astype(np.float32)
        self.logits[..., EOS] += end
        self.vocabulary = vocabulary

    def start(self, sentences, hypotheses: int) -> Carry:
        return Carry(
            fixed=jnp.asarray(self.logits)[np.asarray(sentences)],
            moving={"hidden": jnp.zeros((len(sentences), hypotheses), jnp.int32)},
            position=jnp.zeros(len(sentences), jnp.int32),
        )

    @staticmethod
    def step(carry, tokens_BxK):
        hidden_BxK = (carry.moving["hidden"] * 5 + tokens_BxK * 7 + 1) % STATES
        rows = jnp.arange(tokens_BxK.shape[0])[:, None]
        logits = carry.fixed[rows, carry.position[:, None], hidden_BxK]
        return carry.replace(moving={"hidden": hidden_BxK}, position=carry.position + 1), logits

    def next_logits(self, sentence: int, past: tuple[int, ...]) -> np.ndarray:
        hidden = 0
        for token in (BOS, *past):
            hidden = (hidden * 5 + token * 7 + 1) % STATES
        return self.logits[sentence, len(past), hidden].astype(np.float64)

    def log_probabilities(self, sentence: int, past: tuple[int, ...]) -> np.ndarray:
        logits = self.next_logits(sentence, past)
        return logits - np.log(np.exp(logits).sum())

    def log_probability(self, sentence: int, tokens: tuple[int, ...]) -> float:
        return sum(
            self.log_probabilities(sentence, tokens[:i])[token] for i, token in enumerate(tokens)
        )

    def outputs(self, limit: int, min_length: int = 0):
        """Yields everything that may be said in `limit` tokens."""
        words = range(EOS + 1, self.vocabulary)
        for length in range(min(min_length, limit - 1), limit):
            for tokens in itertools.product(words, repeat=length):
                yield (*tokens, EOS)


@pytest.fixture(scope="session")
def history_model():
    return HistoryModel

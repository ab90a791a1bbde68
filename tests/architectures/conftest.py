"""Walks of a decoder's recurrent view, and what each hypothesis has read on them."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.contract import reorder
from seqjax.data.tokenizer import BOS, PAD


class Beams:
    """K hypotheses in each of B rows that read T tokens; each beam is reordered after each step."""

    @staticmethod
    def random(rows, hypotheses, length, vocabulary):
        """Returns the tokens [B, K, T] that slots read, and who continues whom, [T, B, K]."""
        random = np.random.default_rng(0)
        parents_TxBxK = random.integers(0, hypotheses, (length, rows, hypotheses))
        tokens_BxKxT = random.integers(4, vocabulary, (rows, hypotheses, length))
        tokens_BxKxT[:, :, 0] = BOS
        return tokens_BxKxT, parents_TxBxK

    @staticmethod
    def histories(tokens_BxKxT, parents_TxBxK):
        """Returns what each hypothesis has read by step t, [T, K, B, T]: its ancestors, itself."""
        rows, hypotheses, length = tokens_BxKxT.shape
        seen = np.full((length, hypotheses, rows, length), PAD, np.int32)
        for t in range(length):
            slots = np.broadcast_to(np.arange(hypotheses), (rows, hypotheses))
            for past in range(t, -1, -1):
                seen[t, :, :, past] = np.take_along_axis(tokens_BxKxT[:, :, past], slots, axis=1).T
                if past:
                    slots = np.take_along_axis(parents_TxBxK[past - 1], slots, axis=1)
        return seen

    # How many steps each row waits before its first token: none, or so that positions differ.
    delays = ([0, 0, 0], [1, 0, 2])

    @staticmethod
    def walk(step, carry, tokens_BxKxT, parents_TxBxK, delays_B):
        """Returns logits [T, B, K, V] of the recurrent view; row b begins after `delays[b]` steps.

        A row that waits or has ended is advanced like the others, and its carry then put back.
        """
        tokens, parents = jnp.asarray(tokens_BxKxT), jnp.asarray(parents_TxBxK)
        length, rows = parents.shape[:2]
        every = jnp.arange(rows)

        def advance(carry, time):
            own_B = time - delays_B
            active_B = (own_B >= 0) & (own_B < length)
            own_B = jnp.clip(own_B, 0, length - 1)
            after, logits = step(carry, tokens[every, :, own_B])
            after = reorder(after, parents[own_B, every])

            def choose(new, old):
                return jnp.where(active_B.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

            return jax.tree.map(choose, after, carry), logits

        times = jnp.arange(length + max(map(max, Beams.delays)))
        logits = jax.lax.scan(advance, carry, times)[1]
        return logits[times[:length, None] + delays_B, every]


@pytest.fixture(scope="session")
def check_reached():
    """Returns a function that holds that gradients reach every part of every parameter.

    Of the tokens 1 to 12 each has been read. A matrix is reached in each of its outputs, but for
    those behind a ReLU, which may be shut at all positions.
    """

    def check(gradients):
        for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
            where = jax.tree_util.keystr(path)
            if re.search(r"\['(attention|cross)'\]\['key'\]\['bias'\]$", where):
                continue  # It adds the same to all scores of a query: softmax takes it out again.
            reached = np.abs(np.asarray(gradient)) > 1e-7
            if "embedding']['table" in where:
                reached = reached[1:13].any(axis=1)
            # Of 32 relative distances 9 occur on a side.
            least = 0.25 if "relative" in where else 0.6
            assert reached.mean() > least, f"{where}: {reached.mean():.0%} reached"
            if not any(part in where for part in ("embedding", "relative", "['inner']")):
                outputs = reached.reshape(-1, reached.shape[-1] if reached.ndim else 1).any(axis=0)
                assert outputs.all(), f"{where}: nothing reaches {np.flatnonzero(~outputs)}"

    return check


@pytest.fixture(scope="session")
def beams():
    return Beams

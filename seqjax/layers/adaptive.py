"""Softmax and embeddings that spend less on rare words.

Token ids are in order of frequency. They are divided into clusters: the first, the shortlist, and
tails of rarer words, each with vectors narrower than the one before. Cluster i has the share
1 / factor^i of the width D.

Sources: Grave et al., Efficient softmax approximation for GPUs (2017); Baevski and Auli, Adaptive
input representations for neural language modeling (2019).

Shape suffixes: N tokens, R width of what is read, D width of the shortlist, V vocabulary,
C tokens that are computed at once, W words of a tail.
"""

import functools
import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.cross_entropy import cross_entropy
from seqjax.layers.dense import Dense, matmul
from seqjax.layers.dropout import Dropout
from seqjax.layers.embedding import Embedding


class AdaptiveEmbedding(nn.Module):
    """Token vectors of a width that falls from cluster to cluster (Baevski and Auli, 2019).

        embed(v) = sqrt(D) * E_v            for words v of the shortlist
        embed(v) = sqrt(D) * E_iv P_i       for words v of cluster i, with P_i [D / factor^i, D]

    Attributes:
      vocabulary: number V of token ids.
      width: size D of a vector.
      cutoffs: ids at which a cluster ends and the next begins, below V.
      factor: by which vectors are narrower in each cluster.
      dtype: type of the computation; parameters are float32.
      initializer: a key of `seqjax.layers.embedding.INITIALIZERS`.
      dropout, scaled: as in `Embedding`.
    """

    vocabulary: int
    width: int
    cutoffs: tuple[int, ...]
    factor: int
    dtype: jnp.dtype = jnp.float32
    initializer: str = "normal"
    dropout: float = 0.0
    scaled: bool = True

    def setup(self):
        clusters = bounds(self.cutoffs, self.vocabulary)
        self.drop = Dropout(self.dropout, by_row=False)
        self.cluster = [
            Embedding(end - begin, self.width // self.factor**i, self.dtype, self.initializer)
            for i, (begin, end) in enumerate(clusters)
        ]
        self.widen = [Dense(self.width, self.dtype, bias=False) for _ in clusters[1:]]

    def __call__(self, tokens: jax.Array, deterministic: bool = True) -> jax.Array:
        """Maps token ids [...] to vectors [..., D]."""
        total = 0
        for i, (begin, end) in enumerate(bounds(self.cutoffs, self.vocabulary)):
            vectors = self.cluster[i].lookup(jnp.clip(tokens - begin, 0, end - begin - 1))
            vectors = self.widen[i - 1](vectors) if i else vectors
            inside = (tokens >= begin) & (tokens < end)
            total += jnp.where(inside[..., None], vectors, 0)
        vectors = total * jnp.asarray(self.width**0.5, self.dtype) if self.scaled else total
        if deterministic or self.dropout == 0.0:
            return vectors
        kept_Vx1 = self.drop(jnp.ones((self.vocabulary, 1), self.dtype), deterministic)
        return vectors * jnp.take(kept_Vx1, tokens, axis=0)

    def attend(self, x: jax.Array) -> jax.Array:
        """Maps vectors [..., D] to float32 logits of the words of the shortlist."""
        return self.cluster[0].attend(x)

    def transposed(self, i: int) -> tuple[jax.Array, jax.Array]:
        """Returns P_i^T [D, D / factor^i] and E_i^T [D / factor^i, W] of cluster i from 1 on."""
        table = self.cluster[i].table
        return self.widen[i - 1].weights(table.shape[1])[0].T, table.T


class AdaptiveHead(nn.Module):
    """A distribution over words in two steps: a word of the shortlist or a tail, then a word of it.

        p(v) = softmax(first)_v                     for words v of the shortlist
        p(v) = softmax(first)_i softmax(tail i)_v   for words v of tail i

    Attributes:
      vocabulary: number V of token ids.
      cutoffs: ids at which a cluster ends and the next begins, below V.
    """

    vocabulary: int
    cutoffs: tuple[int, ...]

    def enter(self, x: jax.Array) -> jax.Array:
        """Returns what the other methods read in place of x [..., R]."""
        return x

    def first(self, x: jax.Array) -> jax.Array:
        """Maps vectors [..., R] to float32 logits of the shortlist's words and of the tails."""
        raise NotImplementedError

    def tail(self, i: int, x: jax.Array) -> jax.Array:
        """Maps vectors [..., R] to float32 logits of the words of tail i."""
        raise NotImplementedError

    def matrices(self, i: int, width: int) -> tuple[jax.Array, jax.Array]:
        """Returns the matrices [R, D / factor^i] and [D / factor^i, W] whose product tail i is."""
        raise NotImplementedError

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps vectors [..., R] to the log probability of each word, float32 [..., V]."""
        x, shortlist = self.enter(x), self.cutoffs[0]
        first = jax.nn.log_softmax(self.first(x))
        parts = [first[..., :shortlist]]
        for i in range(1, 1 + len(self.cutoffs)):
            of_tail = first[..., shortlist + i - 1, None]
            parts.append(of_tail + jax.nn.log_softmax(self.tail(i, x)))
        return jnp.concatenate(parts, axis=-1)

    def losses(self, x: jax.Array, targets: jax.Array) -> jax.Array:
        """Returns minus the log probability of each target [...], in nats, given x [..., R].

        Each tail is computed for its own words alone. Twice as many as Zipf's law expects are
        computed at once, and if there are more the rest after them: the loss is always exact.
        """
        x = self.enter(x)
        x_NxR, targets_N = x.reshape(-1, x.shape[-1]), jnp.asarray(targets).reshape(-1)
        shortlist, *tails = bounds(self.cutoffs, self.vocabulary)
        first_N, rest = targets_N, jnp.zeros(targets_N.shape, jnp.float32)
        for i, (begin, end) in enumerate(tails, 1):
            inside_N = (targets_N >= begin) & (targets_N < end)
            first_N = jnp.where(inside_N, shortlist[1] + i - 1, first_N)
            own_N = jnp.clip(targets_N - begin, 0, end - begin - 1)
            room = math.ceil(2 * expected_share(begin, end, self.vocabulary) * len(targets_N))
            logits = functools.partial(_tail_logits, self.dtype, *self.matrices(i, x.shape[-1]))
            rest += _losses_inside(logits, x_NxR, own_N, inside_N, min(room, len(targets_N)))
        loss_N = cross_entropy(self.first(x_NxR), first_N) + rest
        return loss_N.reshape(targets.shape)


class AdaptiveSoftmax(AdaptiveHead):
    """An adaptive softmax with matrices of its own.

        first = x W_0                       tail i = x A_i B_i

    There are no biases, as by default in torch's `AdaptiveLogSoftmaxWithLoss`.

    Attributes:
      width, factor, dtype: see `AdaptiveEmbedding`; A_i has D / factor^i columns.
    """

    width: int
    factor: int
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        shortlist, *tails = bounds(self.cutoffs, self.vocabulary)
        logits = {"dtype": self.dtype, "result": jnp.float32, "bias": False}
        self.choose = Dense(shortlist[1] + len(tails), **logits)
        self.narrow = [
            Dense(self.width // self.factor**i, self.dtype, bias=False)
            for i in range(1, 1 + len(tails))
        ]
        self.words = [Dense(end - begin, **logits) for begin, end in tails]

    def first(self, x: jax.Array) -> jax.Array:
        return self.choose(x)

    def tail(self, i: int, x: jax.Array) -> jax.Array:
        return self.words[i - 1](self.narrow[i - 1](x))

    def matrices(self, i: int, width: int) -> tuple[jax.Array, jax.Array]:
        narrow, words = self.narrow[i - 1], self.words[i - 1]
        return narrow.weights(width)[0], words.weights(narrow.features)[0]


class TiedAdaptiveSoftmax(AdaptiveHead):
    """An adaptive softmax with the matrices of an adaptive embedding (Baevski and Auli, 2019).

        first = x [E_0^T, C]                tail i = x P_i^T E_i^T

    Vectors of another width are first projected to the width of the embedding.

    Attributes:
      embedding: has the vectors E_i and the projections P_i.
    """

    embedding: AdaptiveEmbedding

    def setup(self):
        dtype = self.embedding.dtype
        self.choose = Dense(len(self.cutoffs), dtype, result=jnp.float32, bias=False)

    @property
    def dtype(self) -> jnp.dtype:
        return self.embedding.dtype

    @nn.compact
    def enter(self, x: jax.Array) -> jax.Array:
        if x.shape[-1] != self.embedding.width:
            x = Dense(self.embedding.width, self.dtype, name="project")(x)
        return x

    def first(self, x: jax.Array) -> jax.Array:
        return jnp.concatenate([self.embedding.attend(x), self.choose(x)], axis=-1)

    def tail(self, i: int, x: jax.Array) -> jax.Array:
        return _tail_logits(self.dtype, *self.matrices(i, x.shape[-1]), x)

    def matrices(self, i: int, width: int) -> tuple[jax.Array, jax.Array]:
        return self.embedding.transposed(i)


def bounds(cutoffs: tuple[int, ...], vocabulary: int) -> list[tuple[int, int]]:
    """Returns the first id of each cluster, and the id after its last."""
    return list(itertools.pairwise((0, *cutoffs, vocabulary)))


def expected_share(begin: int, end: int, vocabulary: int) -> float:
    """Returns the share of the tokens of a text whose ranks Zipf's law puts in a cluster.

    The word of rank r is 1 / r times as frequent as the first (Zipf, 1949).
    """
    return math.log((end + 1) / (begin + 1)) / math.log(vocabulary + 1)


def _tail_logits(dtype, narrow_RxD, words_DxW, x):
    """Returns the float32 logits of a tail."""
    return matmul(matmul(x, narrow_RxD, dtype, dtype), words_DxW, dtype, jnp.float32)


def _losses_inside(logits, x_NxR, own_N, inside_N, room):
    """Returns the cross entropy of the tokens inside a tail, 0 for others; `room` at a time.

    No array has more than `room` rows of logits, in the backward pass either.
    """
    count = len(own_N)
    parts = -(-count // room)
    # Those inside come first; what is behind the last token is read as that and never written.
    order = jnp.argsort(~inside_N, stable=True)
    order = jnp.pad(order, (0, parts * room - count), constant_values=count).reshape(parts, room)

    def compute(places_C):
        loss_C = cross_entropy(logits(x_NxR[places_C]), own_N[places_C])
        return jnp.where(inside_N[places_C], loss_C, 0.0)

    def only_first(order):
        return jnp.zeros(order.shape).at[0].set(compute(order[0]))

    def every(order):
        return jax.lax.map(jax.checkpoint(compute), order)

    losses = jax.lax.cond(jnp.sum(inside_N) <= room, only_first, every, order)
    return jnp.zeros(count).at[order.reshape(-1)].set(losses.reshape(-1), mode="drop")

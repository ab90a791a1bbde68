"""Tasks that predict each token from those before it: their objective and their scores."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.cross_entropy import cross_entropy
from seqjax.tasks.task import Batch, Sums, Task


class NextToken(Task):
    """Minimizes the cross entropy of each token, given those before it and what else a batch has.

    A subclass says what is predicted, by `read`.

    Attributes:
      model: has the methods `predict` and `losses` of `TokenDecoder`; of one run, or an
        `Ensemble`.
    """

    model: nn.Module

    def read(
        self, params: dict, batch: Batch, carry: Any, **arguments: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """Returns vectors [B, T, R], targets [B, T], weights [B, T] and the next carry.

        Weights are float32, 1 for the tokens that count and 0 for padding. `arguments` are those of
        the model: `deterministic`, and `rngs` for dropout.
        """
        raise NotImplementedError

    def predict(
        self, params: dict, batch: Batch, carry: Any, **arguments: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """Returns logits [B, T, V] in place of the vectors of `read`, and what else it returns."""
        vectors, *others = self.read(params, batch, carry, **arguments)
        return self.model.apply({"params": params}, vectors, method="predict"), *others

    def loss(
        self, params: dict, batch: Batch, dropout_key: jax.Array, carry: Any = ()
    ) -> tuple[jax.Array, tuple[Sums, Any]]:
        """Returns the training objective, summed over tokens, sums to report and the next carry.

        The sums are `objective`, `loss` (the cross entropy alone, like the validation loss) and
        `tokens`.
        """
        vectors, targets, weights, carry = self.read(
            params, batch, carry, deterministic=False, rngs={"dropout": dropout_key}
        )
        both = self.model.apply(
            {"params": params},
            vectors,
            targets,
            **self.config.loss,
            rngs={"dropout": dropout_key},
            method="losses",
        )
        objective, loss = (jnp.sum(each * weights) for each in both)
        sums = {"objective": objective, "loss": loss, "tokens": jnp.sum(weights)}
        return objective, (sums, carry)

    def score(self, params: dict, batch: Batch, carry: Any = ()) -> tuple[Sums, Any]:
        """Returns sums over the tokens of each row, [B], and the next carry.

        They are `nll` (nats, without label smoothing), `tokens` (with EOS) and `correct` (tokens
        that are the most probable after those before them). The first `unscored` [B] tokens of a
        row are only read, if the batch says so.
        """
        logits, targets, weights, carry = self.predict(params, batch, carry, deterministic=True)
        if "unscored" in batch:
            places = jnp.arange(targets.shape[1])
            weights = weights * (places >= batch["unscored"][:, None])
        correct = (jnp.argmax(logits, axis=-1) == targets) * weights
        sums = {
            "nll": jnp.sum(cross_entropy(logits, targets) * weights, axis=1),
            "tokens": jnp.sum(weights, axis=1),
            "correct": jnp.sum(correct, axis=1),
        }
        return sums, carry

    def log_probabilities(self, params: dict, batch: Batch) -> jax.Array:
        """Returns the log probability of each predicted token, [B, T], in nats; 0 for padding."""
        logits, targets, weights, _ = self.predict(params, batch, (), deterministic=True)
        return jnp.where(weights > 0, -cross_entropy(logits, targets), 0.0)

"""Text to text: translation and similar tasks."""

import functools
import logging
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from seqjax.architectures.contract import Carry
from seqjax.architectures.decoder_only import build_decoder_only
from seqjax.architectures.encoder_decoder import build, source_attention
from seqjax.data.examples import Feature, encode
from seqjax.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers
from seqjax.measures.translation import translation_metrics
from seqjax.search.beam import beam_search
from seqjax.search.hypotheses import Hypotheses
from seqjax.search.sampling import sample_keys, sample_options, sample_sequences
from seqjax.tasks.next_token import NextToken
from seqjax.tasks.output_limits import warn_of_limits
from seqjax.tasks.task import Batch

log = logging.getLogger(__name__)


class TextToText(NextToken):
    """Maps a source string to a target string with an encoder-decoder, or a decoder alone.

    A batch holds `source` [B, S] and `target` [B, T], rows of token ids that end with EOS and are
    padded with PAD. A row of PAD alone is ignored.
    """

    def __init__(self, config: ml_collections.ConfigDict, tokenizers: Tokenizers):
        super().__init__(config, tokenizers)
        sizes = [tokenizers[role].vocabulary_size for role in ("source", "target")]
        if config.model.encoder.kind == "none":
            self.model = build_decoder_only(config.model, sizes[1])
        else:
            self.model = build(config.model, *sizes)

    def features(self) -> list[Feature]:
        """Returns both sides; sources have a limit in evaluation, too, references never."""
        data = self.config.data
        return [
            Feature("source", data.max_source_length, always=True),
            Feature("target", data.max_target_length),
        ]

    def check_lengths(self, lengths: Mapping[str, np.ndarray], split: str) -> None:
        """Warns if references are longer than outputs may be."""
        warn_of_limits(self, lengths["source"], lengths["target"], split)

    def init(self, key: jax.Array) -> dict:
        """Returns initial parameters."""
        tokens = jnp.full((1, 2), BOS, jnp.int32)
        return self.model.init(key, tokens, tokens)["params"]

    def read(
        self, params: dict, batch: Batch, carry: Any, **arguments: Any
    ) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
        """Returns vectors [B, T, R], the target tokens, their weights and the carry."""
        source, target = batch["source"], batch["target"]
        vectors, _ = self.model.apply(
            {"params": params}, source, _shifted(target), method="read", **arguments
        )
        return vectors, target, (target != PAD).astype(jnp.float32), carry

    def ask(self, line: str) -> dict[str, list[int]]:
        """Returns the ids of a source and a target with a tab between them, each with EOS."""
        if line.count("\t") != 1:
            raise ValueError("a source and a target with one tab between them")
        source, target = line.split("\t")
        (ids,) = encode(self.tokenizers["target"], [target])
        return {"source": self.encode_sources([source])[0], "target": [*ids, EOS]}

    def measure(
        self,
        sums: Mapping[str, float],
        texts: Mapping[str, Sequence[str]],
        hypotheses: Sequence[str] | None = None,
    ) -> dict[str, float | str]:
        """Returns the metrics of a split.

        Each is over all examples together (a token counts once, whatever its sentence):

            loss        cross entropy of the references, nats per token, EOS counted; without
                        label smoothing and dropout, so that it is lower than a training loss with
                        them
            perplexity  exp(loss)
            accuracy    percent of reference tokens that were the most probable one, given the
                        reference before them
            bleu, ...   those of `config.evaluation.metrics`, see `translation_metrics`, against
                        references in the tokenizer's normalization form, as outputs are
        """
        loss = sums["nll"] / sums["tokens"]
        metrics: dict[str, float | str] = {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "accuracy": 100.0 * sums["correct"] / sums["tokens"],
        }
        if hypotheses is not None:
            form, evaluation = self.tokenizers["target"].form, self.config.evaluation
            metrics |= translation_metrics(
                hypotheses,
                [form.normalized(reference) for reference in texts["target"]],
                evaluation.metrics,
                evaluation.lowercase,
                evaluation.tokenize,
            )
        return metrics

    def attention(self, params: dict, batch: Batch) -> list[jax.Array]:
        """Returns the weights [B, H, T, S] of each layer on the source, first layer first.

        Row t belongs to the prediction of target token t and sums to 1 over the real source tokens.
        The list is empty for a model without attention.
        """
        read = _shifted(batch["target"])
        return source_attention(self.model, {"params": params}, batch["source"], read)[1]

    def max_output(self, source_length: int) -> int:
        """Returns the largest output length, with EOS, for a source of `source_length` tokens."""
        decode = self.config.decode
        longest = int(source_length * decode.max_length_ratio) + decode.max_length_extra
        return max(int(min(longest, self.model.longest_target(source_length))), 1)

    def search(self, params: dict, source_BxS: jax.Array, n_best: int = 1) -> Hypotheses:
        """Translates a batch of sources by `config.decode`; rows of PAD get no output.

        The outputs are the `n_best` best of a beam, or as many samples, in the order of their
        indices.
        """
        decode = self.config.decode
        lengths_B = jnp.sum(source_BxS != PAD, axis=1)
        capacity = self.max_output(source_BxS.shape[1])
        limits_B = jnp.asarray([self.max_output(n) for n in range(source_BxS.shape[1] + 1)])
        limits_B = jnp.where(lengths_B > 0, limits_B[lengths_B], 0).astype(jnp.int32)
        step = functools.partial(self.step, params)
        scoring = {
            "normalization": decode.length_normalization,
            "penalty": decode.length_penalty,
            "max_length": capacity,
        }
        if decode.method == "sample":
            carry = self.start(params, source_BxS, n_best, capacity)
            keys = sample_keys(decode.seed, source_BxS, n_best)
            options = sample_options(decode)
            return sample_sequences(step, carry, limits_B, keys, options=options, **scoring)
        return beam_search(
            step,
            self.start(params, source_BxS, decode.beam_size, capacity),
            limits_B,
            beam_size=decode.beam_size,
            n_best=n_best,
            min_length=decode.min_length,
            unknown=decode.unknown,
            patience=decode.patience,
            **scoring,
        )

    def start(self, params: dict, source_BxS: jax.Array, hypotheses: int, capacity: int) -> Carry:
        """Returns the initial carry of a number of hypotheses for each source."""
        variables = {"params": params}
        memory = self.model.apply(variables, source_BxS, method="encode")
        return self.model.apply(variables, memory, hypotheses, capacity, method="start")

    def step(self, params: dict, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Returns the next carry and logits [B, K, V]."""
        return self.model.apply({"params": params}, carry, tokens_BxK, method="step")

    def texts(self, tokens: np.ndarray) -> list[str]:
        """Decodes rows of target ids to strings."""
        return [self.tokenizers["target"].decode(row) for row in np.asarray(tokens).tolist()]

    def encode_sources(self, texts: Sequence[str]) -> list[list[int]]:
        """Encodes source strings as rows of ids that end with EOS, cut at the longest source."""
        longest = self.config.data.max_source_length
        encoded = encode(self.tokenizers["source"], texts)
        if cut := sum(len(ids) >= longest for ids in encoded):
            log.warning("%d source(s) cut to data.max_source_length = %d tokens", cut, longest)
        unknown = [text for text, ids in zip(texts, encoded, strict=True) if UNK in ids]
        if unknown:
            lacking = self.tokenizers["source"].unknown
            hint = _normalization_hint(self.tokenizers["source"], unknown)
            log.warning("%d source(s) with %s, read as <unk>%s", len(unknown), lacking, hint)
        return [[*ids[: longest - 1], EOS] for ids in encoded]


def _normalization_hint(tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    """Returns a hint if strings have no unknown tokens in another normalization form of Unicode."""
    for form in ("NFC", "NFD"):
        rewritten = [unicodedata.normalize(form, text) for text in texts]
        if known := sum(UNK not in ids for ids in encode(tokenizer, rewritten)):
            return f"; {known} of them are known in Unicode's {form}: see tokenizer.normalization"
    return ""


def _shifted(target_BxT: jax.Array) -> jax.Array:
    """Returns the decoder's inputs for a target: BOS, then all but the last token."""
    start = jnp.full_like(target_BxT[:, :1], BOS)
    return jnp.concatenate([start, target_BxT[:, :-1]], axis=1)

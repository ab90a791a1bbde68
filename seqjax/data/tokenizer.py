"""Text to token ids and back: training, saving and loading of both sides' tokenizers.

Every tokenizer gives 0 to padding, 1 to begin, 2 to end of sentence, 3 to unknown.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import ml_collections
import numpy as np

from seqjax.data.corpus import Corpus
from seqjax.data.subwords import Subwords, train_subwords
from seqjax.data.symbols import BOS, EOS, PAD, UNK, Bytes, Symbols, train_symbols
from seqjax.errors import UserError
from seqjax.files import as_path, replace_file

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "UNK",
    "Tokenizer",
    "Tokenizers",
    "load_tokenizers",
    "save_tokenizers",
    "train_tokenizers",
]

logger = logging.getLogger(__name__)

_SUBWORD_KINDS = ("unigram", "bpe")
_SYMBOL_KINDS = ("word", "character", "space", "decomposed")
KINDS = ("unigram", "bpe", "word", "character", "byte", "space", "decomposed")
# More sentences than this hardly change a vocabulary and cost memory.
MAX_TRAINING_PAIRS = 1_000_000
_FILE = "tokenizer.json"


class Tokenizer(Protocol):
    """What every kind offers."""

    vocabulary_size: int
    # Changes whenever contents or settings change.
    fingerprint: str

    def encode(self, text: str) -> list[int]:
        """Returns ids without BOS and EOS."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, as `encode`; fast for many."""

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns a random segmentation, a pure function of (text, seed); `encode` when off."""

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text: ignores PAD and BOS, stops at EOS, '<unk>' for what is unknown."""

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns one printable string for each id."""


@dataclasses.dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides, the same object when they share one vocabulary."""

    source: Tokenizer
    target: Tokenizer

    @property
    def joint(self) -> bool:
        """Whether both sides share one vocabulary."""
        return self.source is self.target

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes whenever one of the two changes."""
        both = f"{self.joint} {self.source.fingerprint} {self.target.fingerprint}"
        return hashlib.sha256(both.encode()).hexdigest()[:16]


def train_tokenizers(config: ml_collections.ConfigDict, corpus: Corpus) -> Tokenizers:
    """Learns the vocabulary from the training split.

    Args:
      config: the `tokenizer` part of the config.
      corpus: the training split; of a very large one an evenly drawn part is read.
    """
    if config.joint:
        joint = _train(config, config.kind, _texts(corpus, ("source", "target")))
        return Tokenizers(joint, joint)
    return Tokenizers(
        _train(config, config.kind, _texts(corpus, ("source",))),
        _train(config, config.target_kind or config.kind, _texts(corpus, ("target",))),
    )


def _train(config: ml_collections.ConfigDict, kind: str, texts: Iterator[str]) -> Tokenizer:
    if kind in _SUBWORD_KINDS:
        return train_subwords(kind, texts, config.vocabulary, config.lowercase, config.sampling)
    if kind in _SYMBOL_KINDS:
        return train_symbols(
            kind, texts, config.vocabulary, config.minimum_frequency, config.lowercase
        )
    if kind == "byte":
        return Bytes(config.lowercase)
    raise UserError(f"tokenizer.kind={kind!r} is unknown; known are {', '.join(KINDS)}")


def _texts(corpus: Corpus, sides: tuple[str, ...]) -> Iterator[str]:
    indices = np.arange(len(corpus))
    if len(corpus) > MAX_TRAINING_PAIRS:
        logger.info("the tokenizer learns from %d of %d pairs", MAX_TRAINING_PAIRS, len(corpus))
        drawn = np.random.default_rng(0).choice(len(corpus), MAX_TRAINING_PAIRS, replace=False)
        indices = np.sort(drawn)
    for index in indices:
        pair = corpus[int(index)]
        for side in sides:
            yield getattr(pair, side)


def save_tokenizers(tokenizers: Tokenizers, directory: str | os.PathLike[str]) -> None:
    """Writes tokenizer.json and, for SentencePiece, one .model file for each vocabulary."""
    directory = as_path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    sides = ("joint",) if tokenizers.joint else ("source", "target")
    state = {}
    for side in sides:
        tokenizer = tokenizers.source if side == "joint" else getattr(tokenizers, side)
        state[side] = {"kind": tokenizer.kind, "lowercase": tokenizer.lowercase}
        if isinstance(tokenizer, Subwords):
            state[side] |= {"sampling": tokenizer.sampling, "model": f"{side}.model"}
            (directory / f"{side}.model").write_bytes(tokenizer.model)
        elif isinstance(tokenizer, Symbols):
            state[side]["symbols"] = tokenizer.symbols
    # Last, and in one move: where tokenizer.json stands, everything it names stands too.
    replace_file(directory / _FILE, json.dumps(state, ensure_ascii=False, indent=1) + "\n")


def load_tokenizers(directory: str | os.PathLike[str]) -> Tokenizers:
    """Reads what `save_tokenizers` wrote; needs nothing but the directory."""
    directory = as_path(directory)
    try:
        state = json.loads((directory / _FILE).read_text(encoding="utf-8"))
        sides = {side: _load(fields, directory) for side, fields in state.items()}
    except FileNotFoundError as error:
        missing = error.filename or error
        raise UserError(f"no tokenizer in {directory}: {missing} is missing") from error
    except (ValueError, KeyError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the tokenizer in {directory} is damaged: {reason}") from error
    if "joint" in sides:
        return Tokenizers(sides["joint"], sides["joint"])
    return Tokenizers(sides["source"], sides["target"])


def _load(fields: dict, directory: Path) -> Tokenizer:
    kind, lowercase = fields["kind"], fields["lowercase"]
    if kind in _SUBWORD_KINDS:
        model = (directory / fields["model"]).read_bytes()
        return Subwords(kind, model, lowercase, fields["sampling"])
    if kind == "byte":
        return Bytes(lowercase)
    return Symbols(kind, fields["symbols"], lowercase)

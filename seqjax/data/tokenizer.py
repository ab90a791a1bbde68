"""Text to token ids and back: training, saving and loading of the tokenizers of all fields.

Every tokenizer gives 0 to padding, 1 to begin, 2 to end of sentence, 3 to unknown.
"""

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
from seqjax.data.text_form import TextForm
from seqjax.data.tokenizer_fields import KINDS
from seqjax.errors import UserError
from seqjax.files import as_path, replace_file
from seqjax.stages import stage

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
# More sentences than this hardly change a vocabulary and cost memory.
MAX_TRAINING_PAIRS = 1_000_000
_FILE = "tokenizer.json"


class Tokenizer(Protocol):
    """What every kind offers."""

    vocabulary_size: int
    # Changes whenever contents or settings change.
    fingerprint: str
    # How texts are rewritten first.
    form: TextForm
    # What a text has if encoding it gives UNK.
    unknown: str

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


class Tokenizers(dict[str, Tokenizer]):
    """The tokenizer of each field, the same object for fields that share a vocabulary."""

    @property
    def joint(self) -> bool:
        """Whether several fields share one vocabulary."""
        return len(self) > len({id(tokenizer) for tokenizer in self.values()})

    @functools.cached_property
    def fingerprint(self) -> str:
        """Changes whenever one of them changes."""
        all_of_them = " ".join([str(self.joint), *(each.fingerprint for each in self.values())])
        return hashlib.sha256(all_of_them.encode()).hexdigest()[:16]


def train_tokenizers(
    config: ml_collections.ConfigDict, corpus: Corpus, roles: Sequence[str] = ("source", "target")
) -> Tokenizers:
    """Learns the vocabularies from the training split.

    Args:
      config: the `tokenizer` part of the config.
      corpus: the training split. Of a very large one frequencies are those of an evenly drawn part,
        but all characters are known.
      roles: the fields that become tokens; they share a vocabulary if `config.joint`.
    """
    if config.joint:
        return Tokenizers(dict.fromkeys(roles, _train(config, config.kind, corpus, roles)))
    kinds = {"target": config.target_kind or config.kind}
    return Tokenizers(
        {role: _train(config, kinds.get(role, config.kind), corpus, (role,)) for role in roles}
    )


def _train(
    config: ml_collections.ConfigDict, kind: str, corpus: Corpus, roles: Sequence[str]
) -> Tokenizer:
    form = config.lowercase, config.normalization
    if kind == "byte":
        return Bytes(*form)
    if kind in _SUBWORD_KINDS:
        characters = _characters(corpus, roles, TextForm(*form))
        texts = _texts(corpus, roles, _drawn(corpus))
        return train_subwords(
            kind, texts, config.vocabulary, config.lowercase, config.sampling,
            config.normalization, characters,
        )  # fmt: skip
    if kind in _SYMBOL_KINDS:
        # Characters are few and all of them count.
        drawn = _drawn(corpus) if kind in ("word", "space") else np.arange(len(corpus))
        texts = _texts(corpus, roles, drawn)
        return train_symbols(kind, texts, config.vocabulary, config.minimum_frequency, *form)
    raise UserError(f"tokenizer.kind = {kind!r}: expected one of {', '.join(KINDS)}")


def _drawn(corpus: Corpus) -> np.ndarray:
    """Returns the pairs that a vocabulary is learned from."""
    if len(corpus) <= MAX_TRAINING_PAIRS:
        return np.arange(len(corpus))
    logger.info("the tokenizer learns from %d of %d pairs", MAX_TRAINING_PAIRS, len(corpus))
    drawn = np.random.default_rng(0).choice(len(corpus), MAX_TRAINING_PAIRS, replace=False)
    return np.sort(drawn)


def _characters(corpus: Corpus, roles: Sequence[str], form: TextForm) -> set[str]:
    """Returns the characters of a corpus that is not read as a whole, otherwise none."""
    characters: set[str] = set()
    if len(corpus) > MAX_TRAINING_PAIRS:
        for text in _texts(corpus, roles, np.arange(len(corpus))):
            characters.update(form(text))
    return characters


def _texts(corpus: Corpus, roles: Sequence[str], indices: np.ndarray) -> Iterator[str]:
    whose = "" if roles == ("text",) else f"the {' and '.join(f'{role}s' for role in roles)} of "
    with stage(
        f"reading {whose}the training split for a vocabulary", len(indices), "records"
    ) as advance:
        for count, index in enumerate(indices.tolist()):
            advance(count)
            record = corpus[index]
            for role in roles:
                yield record[role]


def save_tokenizers(tokenizers: Tokenizers, directory: str | os.PathLike[str]) -> None:
    """Writes tokenizer.json and, for SentencePiece, one .model file for each vocabulary."""
    directory = as_path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    different = dict(tokenizers)
    if tokenizers.joint:
        different = {"joint": next(iter(tokenizers.values()))}
    state = {}
    for side, tokenizer in different.items():
        state[side] = {
            "kind": tokenizer.kind,
            "lowercase": tokenizer.lowercase,
            "normalization": tokenizer.normalization,
        }
        if isinstance(tokenizer, Subwords):
            state[side] |= {"sampling": tokenizer.sampling, "model": f"{side}.model"}
            (directory / f"{side}.model").write_bytes(tokenizer.model)
        elif isinstance(tokenizer, Symbols):
            state[side]["symbols"] = tokenizer.symbols
    # Last, and in one move: where tokenizer.json stands, everything it names stands too.
    replace_file(directory / _FILE, json.dumps(state, ensure_ascii=False, indent=1) + "\n")


def load_tokenizers(
    directory: str | os.PathLike[str], roles: Sequence[str] = ("source", "target")
) -> Tokenizers:
    """Reads what `save_tokenizers` wrote for these fields."""
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
        return Tokenizers(dict.fromkeys(roles, sides["joint"]))
    if missing := set(roles) - set(sides):
        raise UserError(f"no tokenizer in {directory} for {', '.join(sorted(missing))}")
    return Tokenizers({role: sides[role] for role in roles})


def _load(fields: dict, directory: Path) -> Tokenizer:
    kind, lowercase = fields["kind"], fields["lowercase"]
    # Tokenizers of earlier versions have none.
    normalization = fields.get("normalization", "none")
    if kind in _SUBWORD_KINDS:
        model = (directory / fields["model"]).read_bytes()
        return Subwords(kind, model, lowercase, fields["sampling"], normalization)
    if kind == "byte":
        return Bytes(lowercase, normalization)
    return Symbols(kind, fields["symbols"], lowercase, normalization)

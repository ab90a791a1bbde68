"""SentencePiece subwords, 'unigram' (Kudo, 2018) and 'bpe' (Sennrich et al., 2016).

Texts are taken as they are (no normalization, spaces kept), so that decoding
inverts encoding for every text over the characters seen in training. The one
exception is '▁' (U+2581), which SentencePiece uses for the space and gives back as one.
"""

import functools
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Sequence

import sentencepiece

from seqjax.data.subword_sampling import BpeDropout, UnigramSampler
from seqjax.data.symbols import BOS, EOS, PAD, SPECIAL_PIECES, UNK, UNKNOWN, content_tokens
from seqjax.errors import UserError

logger = logging.getLogger(__name__)


class Subwords:
    """A trained SentencePiece model."""

    def __init__(self, kind: str, model: bytes, lowercase: bool = False, sampling: float = 0.0):
        self.kind = kind
        self.model = model
        self.lowercase = lowercase
        self.sampling = sampling
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocabulary_size = self._processor.vocab_size()
        state = repr((kind, lowercase, sampling)).encode() + model
        self.fingerprint = hashlib.sha256(state).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Returns the ids of the best segmentation of `text`, without BOS and EOS."""
        return self._processor.encode(self._prepare(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, as `encode`, on all processors."""
        prepared = [self._prepare(text) for text in texts]
        return self._processor.encode(prepared, num_threads=os.cpu_count() or 1)

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns the ids of a random segmentation, a pure function of (text, seed).

        Unigram: drawn from all segmentations, probabilities to the power `sampling` (Kudo, 2018).
        BPE: merges are skipped with probability `sampling` (BPE-dropout, Provilkov et al., 2020).
        """
        if not self.sampling:
            return self.encode(text)
        return self._sampler.sample(self._prepare(text), int(seed))

    @functools.cached_property
    def _sampler(self) -> UnigramSampler | BpeDropout:
        processor = self._processor
        scores = {
            processor.id_to_piece(i): (i, processor.get_score(i))
            for i in range(len(SPECIAL_PIECES), self.vocabulary_size)
        }
        sampler = UnigramSampler if self.kind == "unigram" else BpeDropout
        return sampler(scores, self.sampling)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids` up to EOS; unknown pieces read '<unk>'."""
        return self._processor.decode(content_tokens(ids, self.vocabulary_size))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns one printable string for each id, special ones included; '▁' shows a space."""
        known = (int(i) if 0 <= i < self.vocabulary_size else UNK for i in ids)
        return [self._processor.id_to_piece(i) for i in known]

    def _prepare(self, text: str) -> str:
        return text.lower() if self.lowercase else text


def train_subwords(
    kind: str, texts: Iterable[str], vocabulary: int, lowercase: bool, sampling: float
) -> Subwords:
    """Trains a model of at most `vocabulary` pieces, special ones included.

    Takes what the texts give where they are too few for so many pieces.

    Raises:
      UserError: fewer pieces than characters, or nothing to train on.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(text.lower() if lowercase else text for text in texts),
            model_writer=model,
            model_type=kind,
            vocab_size=vocabulary,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=1 << 16,
            # The number of threads decides the order of sums, and so the model: not the machine's.
            num_threads=16,
            pad_id=PAD,
            bos_id=BOS,
            eos_id=EOS,
            unk_id=UNK,
            pad_piece=SPECIAL_PIECES[PAD],
            bos_piece=SPECIAL_PIECES[BOS],
            eos_piece=SPECIAL_PIECES[EOS],
            unk_piece=UNKNOWN,
            unk_surface=UNKNOWN,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(error, kind, vocabulary) from error
    subwords = Subwords(kind, model.getvalue(), lowercase, sampling)
    if subwords.vocabulary_size < vocabulary:
        logger.warning(
            "tokenizer.vocabulary=%d is more than the corpus gives: %d entries",
            vocabulary,
            subwords.vocabulary_size,
        )
    return subwords


def _explain(error: RuntimeError, kind: str, vocabulary: int) -> Exception:
    message = " ".join(str(error).split())
    if "smaller than required_chars" in message:
        needed = re.search(r"(\d+) vs (\d+)", message)
        least = needed.group(2) if needed else "the number of characters"
        return UserError(
            f"tokenizer.vocabulary={vocabulary} is less than the characters of the corpus:"
            f" at least {least} are needed"
        )
    if "sentences_.empty()" in message:
        return UserError(f"tokenizer.kind={kind!r}: the training split has no text to train on")
    return UserError(f"tokenizer.kind={kind!r}: SentencePiece could not be trained: {message}")

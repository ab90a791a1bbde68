"""SentencePiece subwords, 'unigram' (Kudo, 2018) and 'bpe' (Sennrich et al., 2016).

Decoding inverts encoding for every text over the characters of the training texts, spaces and the
names of special pieces included.
"""

import functools
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence

import sentencepiece

from seqjax.data.escapes import escape, escaped_name, unescape
from seqjax.data.subword_sampling import BpeDropout, UnigramSampler
from seqjax.data.symbols import BOS, EOS, PAD, SPECIAL_PIECES, UNK, UNKNOWN, content_tokens
from seqjax.data.text_form import TextForm
from seqjax.errors import UserError
from seqjax.stages import stage

logger = logging.getLogger(__name__)


# Characters of a training text that SentencePiece takes at once: at most 2^16 bytes, each of four
# and escaped.
_LONGEST = 8000


class Subwords:
    """A trained SentencePiece model."""

    # What a text has if encoding it gives UNK.
    unknown = "characters that the training data lacks"

    def __init__(
        self,
        kind: str,
        model: bytes,
        lowercase: bool = False,
        sampling: float = 0.0,
        normalization: str = "none",
    ):
        self.kind = kind
        self.model = model
        self.lowercase = lowercase
        self.sampling = sampling
        self.normalization = normalization
        self.form = TextForm(lowercase, normalization)
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocabulary_size = self._processor.vocab_size()
        # Models of earlier versions were trained on texts as they are.
        self._escaped = self._processor.id_to_piece(UNK) == escaped_name(UNKNOWN)
        settings = (kind, lowercase, sampling)
        if normalization != "none":
            settings += (normalization,)
        self.fingerprint = hashlib.sha256(repr(settings).encode() + model).hexdigest()[:16]

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
        text = self._processor.decode(content_tokens(ids, self.vocabulary_size))
        return self.form.normalized(unescape(text) if self._escaped else text)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns one printable string for each id, special ones included; '▁' shows a space."""
        return [self._piece(int(token)) for token in ids]

    def _piece(self, token: int) -> str:
        if not UNK < token < self.vocabulary_size:
            return SPECIAL_PIECES[token] if 0 <= token <= UNK else UNKNOWN
        piece = self._processor.id_to_piece(token)
        return unescape(piece) if self._escaped else piece

    def _prepare(self, text: str) -> str:
        text = self.form(text)
        return escape(text) if self._escaped else text


def train_subwords(
    kind: str,
    texts: Iterable[str],
    vocabulary: int,
    lowercase: bool,
    sampling: float,
    normalization: str = "none",
    characters: Iterable[str] = (),
) -> Subwords:
    """Trains a model of at most `vocabulary` pieces, special ones included.

    If the texts are too few for so many pieces, there are fewer.

    Args:
      kind: 'unigram' or 'bpe'.
      texts: the training texts.
      vocabulary: largest number of pieces.
      lowercase, normalization: the form in which texts are tokenized.
      sampling: strength of subword regularization; 0 is off.
      characters: further characters to know, in that form.

    Raises:
      UserError: fewer pieces than characters, or nothing to train on.
    """
    form = TextForm(lowercase, normalization)
    parts, known = [], set()
    for text in map(form, texts):
        known.update(text)
        parts.extend(_parts(escape(text)))
    required = sorted(set(escape("".join(known.union(characters)))) - {" "})
    try:
        with stage(f"learning a vocabulary of {kind} from {len(parts):,} lines"):
            model = _train(kind, parts, vocabulary, "".join(required))
    except RuntimeError as error:
        raise _explain(error, kind, vocabulary) from error
    subwords = Subwords(kind, model, lowercase, sampling, normalization)
    if subwords.vocabulary_size < vocabulary:
        logger.warning(
            "tokenizer.vocabulary = %d: the training data gives only %d entries",
            vocabulary,
            subwords.vocabulary_size,
        )
    return subwords


def _train(kind: str, parts: Sequence[str], vocabulary: int, required: str) -> bytes:
    """Returns a model of escaped texts in which all characters of `required` are known."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(parts),
        model_writer=model,
        model_type=kind,
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        # Of many million characters a coverage of 1 leaves out the rarest ones, since it is
        # compared in single precision.
        character_coverage=1.0,
        required_chars=required,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        max_sentence_length=1 << 16,
        # The number of threads decides the order of sums, and so the model.
        num_threads=16,
        pad_id=PAD,
        bos_id=BOS,
        eos_id=EOS,
        unk_id=UNK,
        pad_piece=escaped_name(SPECIAL_PIECES[PAD]),
        bos_piece=escaped_name(SPECIAL_PIECES[BOS]),
        eos_piece=escaped_name(SPECIAL_PIECES[EOS]),
        unk_piece=escaped_name(UNKNOWN),
        unk_surface=UNKNOWN,
        minloglevel=2,
    )
    return model.getvalue()


def _parts(text: str) -> Iterator[str]:
    """Cuts a text into parts that SentencePiece does not skip, between words if it can."""
    while len(text) > _LONGEST:
        space = text.rfind(" ", 1, _LONGEST)
        if space > 0:
            # A space stands before each part anyway.
            yield text[:space]
            text = text[space + 1 :]
        else:
            yield text[:_LONGEST]
            text = text[_LONGEST:]
    yield text


def _explain(error: RuntimeError, kind: str, vocabulary: int) -> Exception:
    message = " ".join(str(error).split())
    if "smaller than required_chars" in message:
        needed = re.search(r"(\d+) vs (\d+)", message)
        least = f"at least {needed.group(2)}" if needed else "more"
        return UserError(
            f"tokenizer.vocabulary = {vocabulary}: expected {least}, the special pieces and the"
            " characters of the training data"
        )
    if "sentences_.empty()" in message:
        return UserError(f"tokenizer.kind = {kind!r}: expected a training split that is not empty")
    return UserError(f"tokenizer.kind = {kind!r}: SentencePiece cannot be trained: {message}")

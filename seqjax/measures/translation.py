"""Scores of generated text against one reference each, as sacreBLEU computes them."""

import os
from collections.abc import Callable, Sequence

from seqjax.errors import Unavailable, UserError, did_you_mean
from seqjax.files import expanded
from seqjax.stages import stage
from seqjax.tasks.declared import ANSWERED


def translation_metrics(
    hypotheses: Sequence[str],
    references: Sequence[str],
    metrics: Sequence[str],
    lowercase: bool,
    tokenize: str,
) -> dict[str, float | str]:
    """Scores a corpus of translations, detokenized text on both sides.

    Values are in percent and over the whole corpus, so that long sentences count more than short
    ones; only `ter` and `error_rate` may exceed 100.

    An empty hypothesis is a translation without words: all of its reference is missing. An empty
    reference has no words either. Against it, each word of a hypothesis is an insertion (`ter`,
    `error_rate`), lowers the precision of `bleu`, and is left out by `chrf`, as sacreBLEU does. Two
    empty strings are an exact match without errors. If no reference of the corpus has a word,
    `error_rate` divides the insertions by 1, and `ter` is 100 if there are any.

    Args:
      hypotheses: one translation for each reference.
      references: one reference translation for each source.
      metrics: which of 'bleu' (Papineni et al., 2002), 'chrf' (Popović, 2015), 'ter' (Snover et
        al., 2006), 'exact_match' (equal strings, surrounding whitespace aside) and 'error_rate'
        (insertions, deletions and substitutions of words, over the words of the references, where
        a word is what stands between white space: word error rate of sentences, phoneme error rate
        of phonemes) to compute.
      lowercase: ignores case, in every metric.
      tokenize: sacreBLEU's tokenizer for BLEU. chrF counts characters, TER words between spaces.

    Returns:
      The score under each metric's name and, for those of sacreBLEU (Post, 2018), its signature
      under `<name>_signature`.

    Raises:
      UserError: there are no references, or a metric or tokenizer is unknown or not installed.
      ValueError: the two sides differ in number.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    if not references:
        raise UserError("nothing to score: expected a split of at least one example")

    scores: dict[str, float | str] = {}
    for name in metrics:
        if name in _OWN_METRICS:
            scores[name] = _OWN_METRICS[name](hypotheses, references, lowercase)
            continue
        metric = _sacrebleu_metric(name, lowercase, tokenize)
        with stage(f"computing {name}"):
            scores[name] = float(metric.corpus_score(list(hypotheses), [list(references)]).score)
        scores[f"{name}_signature"] = str(metric.get_signature())
    return scores


def check_scorers(metrics: Sequence[str], lowercase: bool, tokenize: str) -> None:
    """Scores one word, so that what a metric lacks shows before any work.

    Raises:
      UserError: a metric or tokenizer needs a package that is not installed.
      Unavailable: a tokenizer's model has to be downloaded, and that failed.
    """
    with stage("preparing the scorers"):
        translation_metrics(["a"], ["a"], metrics, lowercase, tokenize)


def _exact_match(hypotheses: Sequence[str], references: Sequence[str], lowercase: bool) -> float:
    normalize: Callable[[str], str] = (
        (lambda text: text.strip().lower()) if lowercase else str.strip
    )
    pairs = zip(hypotheses, references, strict=True)
    matches = sum(normalize(hypothesis) == normalize(reference) for hypothesis, reference in pairs)
    return 100.0 * matches / len(references)


def _error_rate(hypotheses: Sequence[str], references: Sequence[str], lowercase: bool) -> float:
    edits = tokens = 0
    for pair in zip(hypotheses, references, strict=True):
        hypothesis, reference = ((text.lower() if lowercase else text).split() for text in pair)
        edits += _edits(hypothesis, reference)
        tokens += len(reference)
    return 100.0 * edits / max(tokens, 1)


def _edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Returns the edit distance of two sequences (Levenshtein, 1966)."""
    # Entry j: edits from the first tokens of the hypothesis to the first j of the reference.
    row = list(range(len(reference) + 1))
    for i, token in enumerate(hypothesis, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(reference, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (token != other))
    return row[-1]


# What sacreBLEU does not compute, without a signature.
_OWN_METRICS = {"exact_match": _exact_match, "error_rate": _error_rate}


def _sacrebleu_metric(name: str, lowercase: bool, tokenize: str):
    # The import takes long.
    from sacrebleu.metrics import BLEU, CHRF, TER

    if name == "chrf":
        return CHRF(lowercase=lowercase)
    if name == "ter":
        return TER(case_sensitive=not lowercase)
    if name != "bleu":
        raise UserError(_unknown("evaluation.metrics", name, ANSWERED))
    if tokenize not in BLEU.TOKENIZERS:
        raise UserError(_unknown("evaluation.tokenize", tokenize, list(BLEU.TOKENIZERS)))
    if tokenize in _DOWNLOADED and "SACREBLEU" not in os.environ:
        # sacreBLEU would make a folder that is called '~' if there is no home folder.
        expanded("~/.sacrebleu", f"evaluation.tokenize = {tokenize!r}, SACREBLEU=~/.sacrebleu")
    try:
        # `force` silences a warning about tokenized input: references end in ' .' now and then.
        return BLEU(lowercase=lowercase, tokenize=tokenize, force=True)
    except (ImportError, RuntimeError, AssertionError, OSError, SystemExit) as error:
        raise _missing(tokenize, error) from error


# Tokenizers of sacreBLEU and the extra of its package that brings what they need.
_EXTRAS = {"ja-mecab": "ja", "ko-mecab": "ko"}
# Those whose models it downloads.
_DOWNLOADED = ("spm", "flores101", "flores200", "spBLEU-1K")


def _missing(tokenize: str, error: BaseException) -> UserError:
    """Returns the error of a tokenizer that cannot be used here."""
    field = f"evaluation.tokenize = {tokenize!r}"
    if tokenize in _EXTRAS:
        return UserError(
            f"{field}: needs an extra package: pip install 'sacrebleu[{_EXTRAS[tokenize]}]'"
        )
    reason = " ".join(str(error).split())
    if isinstance(error, OSError | SystemExit):
        return Unavailable(
            f"{field}: its model, which sacreBLEU downloads once, could not be had: {reason}"
        )
    return UserError(f"{field}: expected a tokenizer that works here: {reason}")


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    return f"{what} = {name!r}: expected one of {', '.join(known)}{did_you_mean(name, known)}"

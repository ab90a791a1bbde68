"""Scores of generated text against one reference each, as sacreBLEU computes them."""

import difflib
from collections.abc import Callable, Sequence

from seqjax.errors import UserError

_LOWER_IS_BETTER = ("loss", "perplexity", "ter")
_HIGHER_IS_BETTER = ("accuracy", "bleu", "chrf", "exact_match")
_TRANSLATION_METRICS = ("bleu", "chrf", "ter", "exact_match")


def translation_metrics(
    hypotheses: Sequence[str],
    references: Sequence[str],
    metrics: Sequence[str],
    lowercase: bool,
    tokenize: str,
) -> dict[str, float | str]:
    """Scores a corpus of translations, detokenized text on both sides.

    All values are over the whole corpus and in percent; only `ter` may exceed 100. An empty
    hypothesis counts as a translation without words.

    Args:
      hypotheses: one translation for each reference.
      references: one reference translation for each source.
      metrics: which of 'bleu' (Papineni et al., 2002), 'chrf' (Popović, 2015), 'ter' (Snover et
        al., 2006) and 'exact_match' (equal strings, surrounding whitespace aside) to compute.
      lowercase: compares without regard to case, in every metric.
      tokenize: sacreBLEU's tokenizer for BLEU. chrF reads characters, TER words between spaces.

    Returns:
      The score under each metric's name and, for those of sacreBLEU (Post, 2018), its signature
      under `<name>_signature`.

    Raises:
      UserError: there is nothing to score, or a metric or tokenizer is unknown or not installed.
      ValueError: the two sides differ in number.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses for {len(references)} references")
    if not references:
        raise UserError("nothing to score: the split has no examples; it needs at least one")

    scores: dict[str, float | str] = {}
    for name in metrics:
        if name == "exact_match":
            scores[name] = _exact_match(hypotheses, references, lowercase)
            continue
        metric = _sacrebleu_metric(name, lowercase, tokenize)
        scores[name] = float(metric.corpus_score(list(hypotheses), [list(references)]).score)
        scores[f"{name}_signature"] = str(metric.get_signature())
    return scores


def best_is_higher(metric: str) -> bool:
    """Tells whether a larger value of a validation metric is the better one.

    Raises:
      UserError: the metric is unknown.
    """
    if metric in _HIGHER_IS_BETTER:
        return True
    if metric in _LOWER_IS_BETTER:
        return False
    raise UserError(_unknown("metric", metric, sorted(_HIGHER_IS_BETTER + _LOWER_IS_BETTER)))


def _exact_match(hypotheses: Sequence[str], references: Sequence[str], lowercase: bool) -> float:
    normalize: Callable[[str], str] = (
        (lambda text: text.strip().lower()) if lowercase else str.strip
    )
    pairs = zip(hypotheses, references, strict=True)
    matches = sum(normalize(hypothesis) == normalize(reference) for hypothesis, reference in pairs)
    return 100.0 * matches / len(references)


def _sacrebleu_metric(name: str, lowercase: bool, tokenize: str):
    # Imported here: best_is_higher is needed where nothing is translated.
    from sacrebleu.metrics import BLEU, CHRF, TER

    if name == "chrf":
        return CHRF(lowercase=lowercase)
    if name == "ter":
        return TER(case_sensitive=not lowercase)
    if name != "bleu":
        raise UserError(_unknown("evaluation.metrics", name, _TRANSLATION_METRICS))
    if tokenize not in BLEU.TOKENIZERS:
        raise UserError(_unknown("evaluation.tokenize", tokenize, list(BLEU.TOKENIZERS)))
    try:
        # `force` silences a warning about tokenized input: references end in ' .' now and then.
        return BLEU(lowercase=lowercase, tokenize=tokenize, force=True)
    except (ImportError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"evaluation.tokenize = {tokenize!r} cannot be used: {reason}") from error


def _unknown(what: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{what}: unknown value {name!r}; {hint}known are {', '.join(known)}"

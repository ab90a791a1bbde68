"""What a language model's log probabilities say of a text, whatever its tokenizer."""

import math
from collections.abc import Sequence

# exp(700) is about the largest float.
_LARGEST = 700.0


def likelihood_metrics(nll: float, tokens: float, texts: Sequence[str]) -> dict[str, float]:
    """Returns the metrics of texts that were predicted with a negative log likelihood.

        loss                nll / tokens, in nats
        perplexity          exp(loss)
        word_perplexity     exp(nll / words)
        bits_per_character  nll / (ln 2 x characters)
        bits_per_byte       nll / (ln 2 x bytes of UTF-8)

    The last three divide by the original text, before any tokenizer, so that models with different
    tokenizers compare. Words stand between white space; characters are code points of Unicode. The
    end of a document, which is predicted as well, counts as one word, one character and one byte:
    the line end that it stands for. So `word_perplexity` is `perplexity` if tokens are words, as in
    the figures for the Penn Treebank (Mikolov et al., 2010) and WikiText (Merity et al., 2017),
    whose lines are documents; `bits_per_character` is loss / ln 2 if tokens are characters.

    A tokenizer that loses something makes all of them too good: unknown words or characters,
    letters that were lower-cased, white space.

    Args:
      nll: summed over all tokens, ends of documents among them, in nats.
      tokens: their number.
      texts: the original documents.
    """
    ends = len(texts)
    words = ends + sum(len(text.split()) for text in texts)
    characters = ends + sum(map(len, texts))
    size = ends + sum(len(text.encode()) for text in texts)
    return {
        "loss": nll / tokens,
        "perplexity": _exp(nll / tokens),
        "word_perplexity": _exp(nll / words),
        "bits_per_character": nll / math.log(2) / characters,
        "bits_per_byte": nll / math.log(2) / size,
    }


def _exp(nats: float) -> float:
    return math.exp(min(nats, _LARGEST))

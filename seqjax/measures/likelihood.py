"""What a language model's log probabilities say of a text, whatever its tokenizer."""

import math
from collections.abc import Sequence

# exp(700) is about the largest float.
_LARGEST = 700.0


def likelihood_metrics(nll: float, tokens: float, texts: Sequence[str]) -> dict[str, float]:
    """Returns the metrics of a text that was predicted with a negative log likelihood.

        loss                nll / tokens, in nats
        perplexity          exp(loss)
        word_perplexity     exp(nll / words)
        bits_per_character  nll / (ln 2 x characters)
        bits_per_byte       nll / (ln 2 x bytes of UTF-8)

    The last three divide by the original text, before any tokenizer, so that models with different
    tokenizers compare. Words stand between white space. Ends of documents are no characters, but
    what their prediction costs is in `nll`.

    Args:
      nll: summed over all tokens, ends of documents among them, in nats.
      tokens: their number.
      texts: the original documents.
    """
    words = sum(len(text.split()) for text in texts)
    characters = sum(map(len, texts))
    size = sum(len(text.encode()) for text in texts)
    return {
        "loss": nll / tokens,
        "perplexity": math.exp(min(nll / tokens, _LARGEST)),
        "word_perplexity": math.exp(min(nll / max(words, 1), _LARGEST)),
        "bits_per_character": nll / math.log(2) / max(characters, 1),
        "bits_per_byte": nll / math.log(2) / max(size, 1),
    }

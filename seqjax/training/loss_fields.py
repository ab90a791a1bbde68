"""The fields of the training objective."""

from seqjax.rules import PROBABILITY, Field, at_least

FIELDS = {
    "loss.label_smoothing": Field(
        0.1,
        PROBABILITY,
        "Share of the probability that label smoothing spreads evenly over the vocabulary.",
    ),
    "loss.activation": Field(
        0.0,
        at_least(0),
        "Activation regularization (Merity et al., 2017): weight of the mean square of the"
        " vectors that the output projection reads, after their dropout.",
    ),
    "loss.temporal_activation": Field(
        0.0,
        at_least(0),
        "Temporal activation regularization: weight of the mean square of what these vectors"
        " change from one position to the next, before their dropout.",
    ),
}

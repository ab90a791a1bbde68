"""The fields of token vectors, and what shares them."""

from ml_collections import ConfigDict

from seqjax.architectures.families_fields import embedding_width_of, if_built, stacks_of
from seqjax.rules import ANYTHING, PROBABILITY, Field, Relation, between, one_of

FIELDS = {
    "model.share_embeddings": Field(
        True,
        ANYTHING,
        "Source and target share one embedding table, which needs tokenizer.joint = True.",
    ),
    "model.tie_output": Field(
        True,
        ANYTHING,
        "The output projection is the transposed target embedding.",
    ),
    "model.embedding_initializer": Field(
        "normal",
        one_of("normal", "xavier"),
        "Initial embeddings: 'normal' is N(0, 1/width); 'xavier' (Glorot and Bengio, 2010) is"
        " far smaller for a large vocabulary, so that they change faster.",
    ),
    "model.scale_embeddings": Field(
        True,
        ANYTHING,
        "Multiply token vectors by the root of their width (Vaswani et al., 2017), which then"
        " have unit scale and change fast.",
    ),
    "model.initial_range": Field(
        0.0,
        between(0, 10),
        "Draw all parameters uniformly from -initial_range to initial_range (Zaremba et al.,"
        " 2014); 0 draws each as its layer asks for.",
    ),
    "model.embedding_dropout": Field(
        0.0,
        PROBABILITY,
        "Share of the tokens of a vocabulary that an update cannot read: their vectors are zero"
        " wherever they occur (Gal and Ghahramani, 2016; Merity et al., 2018).",
    ),
}


def _embedding_field(path: str, stack: ConfigDict) -> str:
    """Returns the field that gives the size of token vectors, with its value."""
    name = "embedding_width" if stack.embedding_width else "width"
    return f"{path}.{name} = {embedding_width_of(stack)}"


_DRAWN = Relation(
    "model.initial_range",
    lambda c: (
        c.model.initial_range == 0
        or not any(c.model[n].kind == "lstm" and c.model[n].forget_bias for n in stacks_of(c))
    ),
    "0, or forget_bias = 0 in each LSTM, whose biases are drawn as well",
)
_SHARED = (
    Relation(
        "model.share_embeddings",
        lambda c: not c.model.share_embeddings or c.tokenizer.joint,
        "False, or tokenizer.joint = True",
    ),
    Relation(
        "model.share_embeddings",
        lambda c: (
            not c.model.share_embeddings
            or embedding_width_of(c.model.encoder) == embedding_width_of(c.model.decoder)
        ),
        lambda c: (
            f"False, or {_embedding_field('model.encoder', c.model.encoder)} and"
            f" {_embedding_field('model.decoder', c.model.decoder)} to be the same"
        ),
    ),
)
RELATIONS = (*if_built({"decoder"}, _DRAWN), *if_built({"encoder", "decoder"}, *_SHARED))

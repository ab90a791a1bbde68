"""The fields of optimizers."""

from seqjax.rules import POSITIVE, PROBABILITY, Field, Relation, at_least, is_never, one_of

FIELDS = {
    "optimizer.kind": Field(
        "adam",
        one_of("adam", "adamw", "adafactor", "sgd"),
        "'adam', 'adamw', 'adafactor' or 'sgd'.",
    ),
    "optimizer.learning_rate": Field(
        1e-3,
        POSITIVE,
        "Peak learning rate, reached at the end of warm-up.",
    ),
    "optimizer.beta1": Field(
        0.9,
        PROBABILITY,
        "Adam: decay of the first moment.",
    ),
    "optimizer.beta2": Field(
        0.98,
        PROBABILITY,
        "Adam: decay of the second moment.",
    ),
    "optimizer.epsilon": Field(
        1e-9,
        POSITIVE,
        "Adam: added to the root of the second moment.",
    ),
    "optimizer.momentum": Field(
        0.9,
        PROBABILITY,
        "SGD: momentum.",
    ),
    "optimizer.weight_decay": Field(
        0.0,
        at_least(0),
        "AdamW, Adafactor, SGD: decoupled weight decay of matrices, or of the lengths of"
        " weight-normalized ones. Biases and norms do not decay.",
    ),
    "optimizer.clip": Field(
        1.0,
        at_least(0),
        "Largest global norm of the gradient; 0 is off.",
    ),
    "optimizer.accumulate": Field(
        1,
        at_least(1),
        "Split each batch into this many parts and add up their gradients: less memory, the same"
        " update.",
    ),
    "optimizer.moving_average": Field(
        0.0,
        PROBABILITY,
        "Decay of a moving average of the parameters, such as 0.999, which is then evaluated and"
        " used; 0 keeps none.",
    ),
    "optimizer.average_trigger": Field(
        0,
        at_least(0),
        "Evaluate and use the mean of the parameters of all updates since the validation loss"
        " was first worse than the best of all evaluations but the last so many (averaged SGD"
        " triggered by validation: Merity et al., 2018); 0 keeps none.",
    ),
}

RELATIONS = (
    Relation(
        "optimizer.weight_decay",
        lambda c: c.optimizer.weight_decay == 0 or c.optimizer.kind != "adam",
        "0, since optimizer.kind = 'adam'; 'adamw' decays weights",
    ),
    Relation(
        "optimizer.average_trigger",
        lambda c: not c.optimizer.average_trigger or not is_never(c.evaluation.every),
        "0, since evaluation.every = '{evaluation.every}' never evaluates",
    ),
    Relation(
        "optimizer.average_trigger",
        lambda c: not c.optimizer.average_trigger or not c.optimizer.moving_average,
        "0, or optimizer.moving_average = 0: one average is kept",
    ),
)

"""The fields of metrics of outputs, and which metrics a config measures."""

from ml_collections import ConfigDict

from seqjax.rules import ANYTHING, Field, one_of, quoted, some_of
from seqjax.tasks.declared import ANSWERED, TASKS

_SACREBLEU_TOKENIZERS = (
    ("none", "zh", "13a", "intl", "char", "ja-mecab", "ko-mecab")
    + ("spm", "flores101", "flores200", "spBLEU-1K")
)  # fmt: skip

FIELDS = {
    "evaluation.lowercase": Field(
        False,
        ANYTHING,
        "Lower-case outputs and references before scoring.",
    ),
    "evaluation.tokenize": Field(
        "13a",
        one_of(*_SACREBLEU_TOKENIZERS),
        "Tokenizer of sacreBLEU for BLEU: '13a' for most languages, 'zh', 'ja-mecab',"
        " 'ko-mecab', 'char' or 'flores200' for those without spaces, 'none' for tokenized text.",
    ),
    "evaluation.metrics": Field(
        ("bleu", "chrf", "ter", "exact_match"),
        some_of(*ANSWERED),
        "Metrics of the outputs: 'bleu', 'chrf', 'ter', 'exact_match', 'error_rate' (word error"
        " rate: edits of the words between spaces).",
    ),
}


def can_be_measured(config: ConfigDict, metric: str) -> bool:
    """Returns whether validations of a config have a metric; '' is none and fits all."""
    evaluation = config.evaluation
    if metric and metric not in TASKS[config.task].measures:
        return False
    measured = evaluation.metrics if evaluation.translate else ()
    return metric not in ANSWERED or metric in measured


def measured_metrics(config: ConfigDict) -> str:
    """Returns what is expected in place of a metric that is not measured."""
    evaluation, measures = config.evaluation, TASKS[config.task].measures
    if not set(ANSWERED) & set(measures):
        return f"one of {quoted(tuple(measures))}, which task = {config.task!r} has"
    return (
        f"a metric that is measured: evaluation.metrics = {evaluation.metrics},"
        f" evaluation.translate = {evaluation.translate}"
    )

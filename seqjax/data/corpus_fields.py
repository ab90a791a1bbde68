"""The fields of a corpus: where it lies, and what its languages and splits are called."""

import re
import string

from ml_collections import ConfigDict

from seqjax.files import in_bucket
from seqjax.rules import FILLED, Field, Relation, Rule, one_of, quoted, where
from seqjax.tasks.declared import TASKS

# Corpora that are files of the user.
FILES = ("text", "tsv", "jsonl", "pattern")
DOCUMENT_KINDS = ("line", "block", "file")
CORPORA = ("synthetic:translation", "synthetic:sentences", *FILES)


def _is_place(name: str) -> bool:
    return not in_bucket(name) or name.startswith(("gs://", "s3://"))


def placeholders(template: str) -> set[str] | None:
    """Returns the names in braces in a file name, or None if the braces do not match."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError:
        return None


def _is_corpus(name: str) -> bool:
    return name in CORPORA or (name.startswith("tfds:") and len(name) > len("tfds:"))


def _are_files(template: str) -> bool:
    names = placeholders(template)
    return bool(template) and names is not None and names <= {"split", "language"}


def _is_pattern(text: str) -> bool:
    try:
        return bool(re.compile(text))
    except (re.error, OverflowError, RecursionError):
        # `re` has no error of its own for a count or a nesting that it cannot hold.
        return False


FIELDS = {
    "data.corpus": Field(
        "synthetic:translation",
        Rule(_is_corpus, f"one of {quoted(CORPORA)} or 'tfds:NAME'", CORPORA),
        "Where sentence pairs or documents come from: 'synthetic:translation' is built in, for"
        " language models 'synthetic:sentences', its English side; 'text' is a file for each"
        " language, line by line, or plain text; 'tsv' and 'jsonl' are columns or fields of one"
        " file; 'pattern' is a regular expression for each line; 'tfds:NAME' is a data set of"
        " TensorFlow Datasets.",
    ),
    "data.directory": Field(
        "",
        where(_is_place, "a local folder, gs://... or s3://..."),
        "Folder of the corpus, on this machine or in a bucket (gs://... or s3://..., read into"
        " memory). '~' and '$VARIABLES' are expanded.",
    ),
    "data.source": Field(
        "en",
        FILLED,
        "Source language, as the corpus names it: the suffix of a file, a column, a field, a"
        " group of the pattern, or a feature.",
    ),
    "data.target": Field(
        "de",
        FILLED,
        "Target language, as the corpus names it.",
    ),
    "data.text": Field(
        "text",
        FILLED,
        "Language models: the text, as the corpus names it: a column, a field, a group of the"
        " pattern, or a feature.",
    ),
    "data.documents": Field(
        "line",
        one_of(*DOCUMENT_KINDS),
        "Language models: what a document of corpus 'text' is: a 'line', a 'block' of lines that"
        " ends with a blank line, or the whole 'file'. Each ends with the end-of-sentence token.",
    ),
    "data.files": Field(
        "{split}.{language}",
        where(_are_files, "a file name that may hold {split} and {language}"),
        "File name of a split. 'text' fills in {split} and {language}, the other corpora"
        " {split}. It has no {split} if data.split_by divides one file.",
    ),
    "data.pattern": Field(
        "",
        where(_is_pattern, "a regular expression such as '(?P<en>.*)=(?P<de>.*)'"),
        "Regular expression for a whole line of corpus 'pattern'. Its named groups are the"
        " sides: with data.source = 'command' and data.target = 'actions', 'IN: (?P<command>.*)"
        " OUT: (?P<actions>.*)'.",
    ),
    "data.train": Field(
        "train",
        FILLED,
        "Name of the training split in the corpus.",
    ),
    "data.validation": Field(
        "validation",
        FILLED,
        "Name of the split that is evaluated during training.",
    ),
    "data.test": Field(
        "test",
        FILLED,
        "Name of the split that `evaluate` scores unless --split names another.",
    ),
}


def _groups(pattern: str) -> tuple[str, ...]:
    """Returns the names of the groups of a regular expression."""
    return tuple(re.compile(pattern).groupindex)


def _has_group(config: ConfigDict, role: str) -> bool:
    if config.data.corpus != "pattern" or role not in TASKS[config.task].roles:
        return True
    return config.data[role] in _groups(config.data.pattern)


def _named_group(config: ConfigDict) -> str:
    known = quoted(_groups(config.data.pattern)) or "none"
    return f"a named group of data.pattern = {config.data.pattern!r}, which has {known}"


RELATIONS = (
    Relation(
        "data.directory",
        lambda c: c.data.directory or c.data.corpus not in FILES,
        "the folder of the files, since data.corpus = '{data.corpus}'",
    ),
    Relation(
        "data.corpus",
        lambda c: c.task == "text_to_text" or c.data.corpus != "synthetic:translation",
        "'synthetic:sentences', 'text', 'tsv', 'jsonl', 'pattern' or 'tfds:NAME', since task ="
        " '{task}'",
    ),
    Relation(
        "data.corpus",
        lambda c: c.task != "text_to_text" or c.data.corpus != "synthetic:sentences",
        "'synthetic:translation', 'text', 'tsv', 'jsonl', 'pattern' or 'tfds:NAME', since task ="
        " '{task}'",
    ),
    Relation(
        "data.source",
        lambda c: (
            c.task != "text_to_text"
            or not c.data.corpus.startswith("synthetic:")
            or {c.data.source, c.data.target} == {"en", "de"}
        ),
        "'en' and data.target = 'de' or the reverse, since data.corpus = '{data.corpus}'",
    ),
    Relation(
        "data.files",
        lambda c: (
            c.task != "text_to_text"
            or c.data.corpus != "text"
            or "language" in placeholders(c.data.files)
        ),
        "a file name with {{language}}, since data.corpus = 'text' has a file for each",
    ),
    *(
        Relation(f"data.{role}", lambda c, role=role: _has_group(c, role), _named_group)
        for role in ("source", "target", "text")
    ),
)

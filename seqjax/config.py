"""Every field of an experiment: the sections, put together from the files that declare them.

A config is an `ml_collections.ConfigDict`. Files under `configs/` start from `default_config()` and
change what their run needs. The command line overrides single fields:
`--config.model.encoder.layers=4`.

A duration (`train.duration`, `schedule.warmup`, `*.every`) is a string. A bare number or
`'500 steps'` counts updates, `'2.5 epochs'` passes over the training corpus, `'4M tokens'` target
tokens, and `'10%'` is a share of the whole training. `'0'` means never.

A field is declared beside the code that reads it, in a file `NAME_fields.py`, which needs no JAX.
`FIELDS` there has its default, what it accepts and what it means; `RELATIONS` says which fields
contradict each other.
"""

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import NamedTuple

import ml_collections

from seqjax.architectures import (
    attention_fields,
    convolutional_fields,
    decoder_only_fields,
    families_fields,
    recurrent_fields,
    stems_fields,
    transformer_fields,
)
from seqjax.data import (
    batching_fields,
    corpus_fields,
    examples_fields,
    selection_fields,
    tokenizer_fields,
)
from seqjax.evaluation import evaluator_fields
from seqjax.layers import adaptive_fields, positions_fields, scanning_fields
from seqjax.measures import translation_fields
from seqjax.parallel import mesh_fields
from seqjax.reporting import writers_fields
from seqjax.rules import Field, Relation, Rule
from seqjax.search import beam_fields, sampling_fields
from seqjax.tasks import declared, language_model_fields
from seqjax.training import (
    checkpoint_fields,
    loss_fields,
    optimizer_fields,
    schedule_fields,
    trained_fields,
    training_fields,
)
from seqjax.values import Section


class _Declared(NamedTuple):
    """A section: what it is about, and the files with its fields, in this order."""

    about: str
    files: tuple[ModuleType, ...]


_STACK = (
    families_fields,
    transformer_fields,
    positions_fields,
    scanning_fields,
    convolutional_fields,
    recurrent_fields,
)
# `model.*` is both `model.encoder` and `model.decoder`.
SECTIONS = {
    "": _Declared("", (declared, training_fields)),
    "data": _Declared(
        "The corpus: where it lies, its languages and splits, and which pairs are trained on.",
        (corpus_fields, selection_fields, examples_fields),
    ),
    "tokenizer": _Declared(
        "How text becomes tokens. The vocabulary is learned from the training split.",
        (tokenizer_fields,),
    ),
    "batching": _Declared("What a training batch holds.", (batching_fields,)),
    "model": _Declared(
        "What both sides of the model share.", (stems_fields, adaptive_fields, families_fields)
    ),
    "model.*": _Declared(
        "A side of the model; `*` is `encoder` or `decoder`. Some fields are for one family only.",
        _STACK,
    ),
    "model.encoder": _Declared(
        "The encoder: the fields of a stack and these.", (recurrent_fields,)
    ),
    "model.decoder": _Declared(
        "The decoder: the fields of a stack and these.",
        (attention_fields, recurrent_fields, decoder_only_fields),
    ),
    "loss": _Declared("The training objective.", (loss_fields,)),
    "optimizer": _Declared("How gradients change the parameters.", (optimizer_fields,)),
    "schedule": _Declared("The learning rate over the training.", (schedule_fields,)),
    "train": _Declared("How long training takes.", (training_fields,)),
    "evaluation": _Declared(
        "What is measured, and how often during training.",
        (evaluator_fields, language_model_fields, translation_fields),
    ),
    "decode": _Declared(
        "Search for outputs, and the parameters that it uses.",
        (beam_fields, sampling_fields, language_model_fields, evaluator_fields, trained_fields),
    ),
    "checkpoint": _Declared("What is saved during training.", (checkpoint_fields,)),
    "parallel": _Declared(
        "How devices share the work. A mesh has the product of the three fields.", (mesh_fields,)
    ),
    "reporting": _Declared("Where training metrics are written.", (writers_fields,)),
}


def declared_fields(section: str) -> Mapping[str, Field]:
    """Returns the fields that a section of `SECTIONS` declares itself, by their paths."""
    return {
        path: field
        for file in SECTIONS[section].files
        for path, field in file.FIELDS.items()
        if path.rpartition(".")[0] == section
    }


def _fields() -> dict[str, Field]:
    """Returns the fields of all sections by their paths, those of a stack for both sides."""
    found = {name: {} for name in SECTIONS if name != "model.*"}
    for section in SECTIONS:
        for path, field in declared_fields(section).items():
            own = ("model.encoder", "model.decoder") if section == "model.*" else (section,)
            name = path.rpartition(".")[2]
            for place in own:
                rule = field.narrower.get(place, field.rule)
                found[place][f"{place}.{name}" if place else name] = field._replace(rule=rule)
    return {path: field for fields in found.values() for path, field in fields.items()}


_FIELDS = _fields()
# What each field may hold.
RULES: Mapping[str, Rule] = MappingProxyType({path: f.rule for path, f in _FIELDS.items()})
# The first that is broken is reported: sizes of the model before what depends on them.
_ORDER = ("model.*", "model.decoder", "model", *SECTIONS)
_FILES = dict.fromkeys(file for section in _ORDER for file in SECTIONS[section].files)
# Which fields, each right by itself, do not fit together.
RELATIONS: tuple[Relation, ...] = tuple(
    relation for file in _FILES for relation in getattr(file, "RELATIONS", ())
)


def default_config() -> ml_collections.ConfigDict:
    """Returns every field with its default: a small Transformer on the built-in corpus."""
    sections = {"": Section()}
    for path, field in _FIELDS.items():
        section, _, name = path.rpartition(".")
        if section not in sections:
            outer, _, own = section.rpartition(".")
            sections[section] = sections[outer][own] = Section()
        sections[section][name] = field.default
    return sections[""].lock()

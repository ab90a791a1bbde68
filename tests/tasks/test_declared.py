"""Every declared task is one: what is known of it before JAX is imported holds."""

import importlib

import pytest

from seqjax.errors import UserError
from seqjax.tasks.declared import ANSWERED, MEASURES, TASKS, best_is_higher
from seqjax.tasks.task import Task


def test_direction_of_every_metric():
    higher = ["accuracy", "bleu", "chrf", "exact_match"]
    lower = ["loss", "perplexity", "ter", "error_rate"]
    lower += ["word_perplexity", "bits_per_character", "bits_per_byte"]
    assert [best_is_higher(name) for name in higher + lower] == [True] * 4 + [False] * 7
    assert {*higher, *lower} == set(MEASURES)
    with pytest.raises(UserError, match="did you mean 'chrf'"):
        best_is_higher("chrF")


def test_what_compares_outputs_with_references():
    assert ANSWERED == ("bleu", "chrf", "ter", "exact_match", "error_rate")


def test_a_name_means_the_same_in_every_task():
    for task in TASKS.values():
        assert {name: MEASURES[name] for name in task.measures} == task.measures


@pytest.mark.parametrize("name", TASKS)
def test_a_declared_task_is_there(name):
    declared = TASKS[name]
    assert issubclass(getattr(importlib.import_module(declared.module), declared.name), Task)

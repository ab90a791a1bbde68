"""What a caller gives as a config stays as it was: its values, its locks, its references."""

import contextlib

import pytest

from seqjax.config import default_config
from seqjax.evaluation.evaluator import Evaluator
from seqjax.fields import load
from seqjax.overrides import apply_overrides, split_overrides
from seqjax.training.estimate import estimate
from seqjax.training.loop import Training
from seqjax.training.overview import overview
from seqjax.training.population import Population, shared_mesh
from seqjax.training.preparation import prepare
from seqjax.training.trained import load_ensemble, load_trained


@contextlib.contextmanager
def unchanged(*configs):
    """Fails if a config is another one at the end than at the beginning."""
    before = [config.copy_and_resolve_references() for config in configs]
    sections = [(id(config.decode), id(config.data), config.is_locked) for config in configs]
    yield
    for config, copy, held in zip(configs, before, sections, strict=True):
        assert config.to_dict() == copy.to_dict()
        assert (id(config.decode), id(config.data), config.is_locked) == held


def _configured(tiny, **fields):
    config = default_config()
    named = {name.replace("__", "."): value for name, value in fields.items()}
    apply_overrides(config, split_overrides(tiny({"train.duration": 2} | named))[1])
    return config


def test_a_training_leaves_its_config(tiny, tmp_path):
    config = _configured(tiny)
    with unchanged(config):
        prepared = prepare(config)
        estimate(config, prepared)
        training = Training.of_one(config, prepared, tmp_path)
        overview(config, prepared, 1, training.evaluator)
        assert training.run() == "complete"
        Evaluator(prepared.task, prepared.mesh, "validation", 4)(training.state.best, False)


@pytest.mark.thorough
def test_a_training_of_several_leaves_theirs(tiny, tmp_path):
    rates = {"a": 1e-3, "b": 2e-3}
    configs = {name: _configured(tiny, optimizer__learning_rate=r) for name, r in rates.items()}
    with unchanged(*configs.values()):
        prepared = prepare(configs["a"])
        prepared = prepared._replace(mesh=shared_mesh(prepared.mesh, 2))
        population = Population(list(configs.values()), prepared)
        assert Training.of_several(configs, population, prepared, tmp_path).run() == "complete"


def test_loading_leaves_the_configs_of_runs(trained):
    config, other = (load(trained / "config.json") for _ in range(2))
    other.decode.beam_size, other.data.max_source_length = 1, 99
    with unchanged(config, other):
        load_trained(trained, config)
        load_ensemble([trained, trained], [config, other])

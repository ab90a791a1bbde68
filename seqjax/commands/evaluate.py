"""`evaluate`: metrics of a split as JSON on standard output."""

import argparse
import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ml_collections

from seqjax.commands.standard_streams import named_output
from seqjax.data.corpus import has_split
from seqjax.errors import Unavailable, UserError
from seqjax.fields import flatten, load
from seqjax.files import run_path
from seqjax.parallel.processes import is_first
from seqjax.reporting.evaluations import (
    corpus_facts,
    read_evaluations,
    rounded,
    write_evaluation,
)
from seqjax.reporting.predictions import file_stem, write_predictions
from seqjax.reporting.samples import sample_lines
from seqjax.stages import say
from seqjax.studies.grid import change_name, differences
from seqjax.tasks.declared import best_is_higher
from seqjax.training.members import program_key

if TYPE_CHECKING:
    from seqjax.evaluation.evaluator import Evaluation, Evaluator
    from seqjax.training.trained import Trained

log = logging.getLogger(__name__)

HELP = "Scores a split with a trained model and prints the metrics as JSON."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--split`, `--trial`, `--show`, `--together` and `--ensemble`."""
    parser.add_argument(
        "--split", default="test", help="train, validation, test, or a name in the corpus"
    )
    parser.add_argument(
        "--trial",
        metavar="NAME",
        help="score this trial of the sweep in WORKDIR; 'best': the first of its table",
    )
    parser.add_argument(
        "--show",
        type=_count,
        default=0,
        metavar="N",
        help="also print the first N sources, references and outputs",
    )
    parser.add_argument(
        "--together",
        metavar="NAME,NAME,...",
        help="score each of the runs WORKDIR/NAME, and print one object that holds theirs; runs"
        " that differ only in numbers are compiled once",
    )
    parser.add_argument(
        "--ensemble",
        metavar="NAME,NAME,...",
        help="score the runs WORKDIR/NAME as one model: the mean of their probabilities",
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Evaluates; the JSON object goes to standard output, all else to standard error."""
    from seqjax.training.trained import load_trained

    return _run_one(arguments, config, load_trained(arguments.workdir, config))


def run_ensemble(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Evaluates several runs as one model, as `run` does one."""
    from seqjax.training.trained import load_ensemble

    folders = [run_path(arguments.workdir) / name for name in configs]
    members = list(configs.values())
    return _run_one(arguments, members[0], load_ensemble(folders, members), list(configs))


def run_together(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Evaluates several runs one by one; prints what `run` prints of each, by its name."""
    from seqjax.training.trained import load_trained, tokenizer_files

    evaluators: dict[Any, Evaluator] = {}
    facts: dict[str, Any] = {}
    try:
        for name, config in configs.items():
            folder = os.path.join(arguments.workdir, name)
            trained = load_trained(folder, config)
            known = program_key(config), *sorted(tokenizer_files(folder).items())
            if known not in evaluators:
                evaluators[known] = _evaluator(trained, arguments.split)
            result, found = _evaluate(arguments, folder, config, trained, evaluators[known])
            facts[name] = rounded(found)
            _keep(folder, config, trained, result, found)
    finally:
        # What was found before a failure is not lost with it.
        if facts:
            _print(facts)
    return 0


def _run_one(
    arguments: argparse.Namespace,
    config: ml_collections.ConfigDict,
    trained: "Trained",
    members: Sequence[str] = (),
) -> int:
    evaluator = _evaluator(trained, arguments.split)
    workdir = arguments.workdir
    result, facts = _evaluate(arguments, workdir, config, trained, evaluator, members)
    try:
        _print(rounded(facts))
    finally:
        _keep(workdir, config, trained, result, facts)
    return 0


def _evaluator(trained: "Trained", split: str) -> "Evaluator":
    from seqjax.evaluation.evaluator import Evaluator

    try:
        return Evaluator(trained.task, trained.mesh, split)
    except UserError as error:
        if isinstance(error, Unavailable) or has_split(
            trained.task.config.data, split, trained.task.declared.roles
        ):
            raise
        reason, unnamed = str(error), f"split = {split!r}: "
        if reason.startswith(unnamed):
            raise UserError(f"--split={split}: {reason.removeprefix(unnamed)}") from error
        raise UserError(f"--split={split}: expected a split of the corpus; {reason}") from error


def _print(facts: Mapping[str, Any]) -> None:
    if is_first():
        with named_output():
            print(json.dumps(facts, indent=2, ensure_ascii=False), flush=True)


def _evaluate(
    arguments: argparse.Namespace,
    workdir: str,
    config: ml_collections.ConfigDict,
    trained: "Trained",
    evaluator: "Evaluator",
    members: Sequence[str] = (),
) -> "tuple[Evaluation, dict[str, Any]]":
    """Evaluates; returns the result and the facts to print, with all digits."""
    from seqjax.training.state import parameter_count

    result = evaluator(trained.params)
    facts = {
        "workdir": str(run_path(workdir)),
        "split": arguments.split,
        "examples": evaluator.count,
        **{f"{name}s_cut": count for name, count in evaluator.cut.items()},
        "step": trained.step,
        "averaged": config.decode.average,
        **({"beam_size": config.decode.beam_size} if result.hypotheses else {}),
        "parameters": parameter_count(trained.params),
    }
    if result.hypotheses:
        facts["output_tokens"] = result.output_tokens
        facts["decoding_seconds"] = round(result.decoding_seconds, 3)
    facts |= result.metrics
    form = trained.task.tokenizers[trained.task.declared.roles[-1]].form
    if form.normalization != "none":
        # The references were, too: sacreBLEU on their file may find other scores.
        facts["normalization"] = form.normalization
    if members:
        facts["ensemble"] = list(members)
    if is_first():
        _show(result, arguments.show)
    return result, facts


def _keep(
    workdir: str,
    config: ml_collections.ConfigDict,
    trained: "Trained",
    result: "Evaluation",
    facts: Mapping[str, Any],
) -> None:
    """Writes the hypotheses and the evaluation; a folder that cannot be written is a warning."""
    if not is_first():
        return
    # An ensemble has the settings of its first member.
    changes = _changes(config, os.path.join(workdir, *facts.get("ensemble", ())[:1]))
    # Ensembles in one folder are distinguished by their members.
    digest = hashlib.sha256(",".join(facts.get("ensemble", ())).encode()).hexdigest()[:8]
    parts = [facts["split"], digest if "ensemble" in facts else "", change_name(changes)]
    name = "-".join(filter(None, parts))
    path = None
    if result.hypotheses:
        path = write_predictions(workdir, name, trained.step, result.hypotheses)
    record = {
        "split": facts["split"],
        "step": trained.step,
        "checkpoints": trained.checkpoints,
        "changes": changes,
        "settings": {
            field: value
            for field, value in flatten(config).items()
            if field.startswith(("decode.", "evaluation."))
        },
        "corpus": corpus_facts(result.sources, result.references),
        "predictions": f"predictions/{path.name}" if path else "",
        "samples": [
            {"source": source, "reference": reference, "output": output}
            for source, reference, output in _triples(result, _SAMPLES)
        ],
        "result": facts,
    }
    if config.decode.average > 1:
        _compare_average(workdir, config, trained, record)
    if path:
        say(f"hypotheses: {path}")
    stem = file_stem(name, trained.step)
    if kept := write_evaluation(workdir, stem, record):
        say(f"evaluation: {kept}")


# How many examples an evaluation keeps with its figures, for the report of the run.
_SAMPLES = 5


def _compare_average(
    workdir: str,
    config: ml_collections.ConfigDict,
    trained: "Trained",
    record: Mapping[str, Any],
) -> None:
    """Warns if the average is worse than its newest checkpoint alone, as far as that is known.

    It is known from an evaluation that was kept, with all other settings the same; and of the
    validation split from training, if that took all of it.
    """
    metric = config.checkpoint.best_metric
    if metric not in record["result"]:
        metric = "loss"
    changes = {f: v for f, v in record["changes"].items() if f not in _WHICH}
    alone = {}
    if record["split"] == "validation" and not changes and config.evaluation.limit == -1:
        alone = dict(trained.validation)
    kept = json.loads(json.dumps(record["settings"])) | {"decode.average": 1}
    members = record["result"].get("ensemble")
    for other in read_evaluations(workdir):
        settings, result = other.get("settings"), other["result"]
        same = all(other.get(name) == record[name] for name in ("split", "step", "corpus"))
        # The file may have been written by anything.
        same = same and isinstance(settings, dict) and isinstance(result.get(metric), int | float)
        if same and result.get("ensemble") == members:
            if settings | {"decode.checkpoint": kept["decode.checkpoint"]} == kept:
                alone = result
    value, before = record["result"][metric], alone.get(metric)
    if not isinstance(before, int | float):
        return
    if (value < before) if best_is_higher(metric) else (value > before):
        log.warning(
            "decode.average = %d makes %s worse on %s: %.5g, where the checkpoint of step %d alone"
            " has %.5g",
            config.decode.average,
            metric,
            record["split"],
            value,
            record["step"],
            before,
        )


# Fields that say which parameters are evaluated.
_WHICH = ("decode.average", "decode.checkpoint")
# Fields that change which examples are scored, how they are searched or how they are scored.
_SCORED = ("decode.", "evaluation.", "data.")
_UNSCORED = ("data.cache", "decode.tokens", "decode.shapes")


def _changes(config: ml_collections.ConfigDict, workdir: str) -> dict[str, Any]:
    """Returns the fields that differ from the run's config and may change the result."""
    path = run_path(workdir) / "config.json"
    _, here = differences([flatten(load(path, missing="default")), flatten(config)])
    return {f: v for f, v in here.items() if f.startswith(_SCORED) and f not in _UNSCORED}


def _count(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--show={text}: expected 0 or more")
    return int(text)


def _show(result: "Evaluation", count: int) -> None:
    for line in sample_lines(_triples(result, count)):
        say(line)


def _triples(result: "Evaluation", count: int) -> list[tuple[str, str, str]]:
    """Returns source, reference and output of the first examples."""
    # Without a search there are no outputs.
    outputs = result.hypotheses[:count]
    first = len(outputs)
    triples = zip(result.sources[:first], result.references[:first], outputs, strict=True)
    return list(triples)

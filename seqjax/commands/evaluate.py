"""`evaluate`: metrics of a split as JSON on standard output."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_collections

from seqjax.errors import UserError
from seqjax.fields import load
from seqjax.files import run_path
from seqjax.parallel.processes import is_first
from seqjax.studies.grid import differences, label
from seqjax.training.members import program

if TYPE_CHECKING:
    from seqjax.evaluation.evaluator import Evaluation, Evaluator
    from seqjax.training.trained import Trained

HELP = "Scores a split with a trained model and prints the metrics as JSON."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--split`, `--show`, `--together` and `--ensemble`."""
    parser.add_argument(
        "--split", default="test", help="train, validation, test, or a name in the corpus"
    )
    parser.add_argument(
        "--show", type=_count, default=0, metavar="N", help="print the first N translations, too"
    )
    parser.add_argument(
        "--together",
        metavar="NAME,NAME,...",
        help="score each of the runs WORKDIR/NAME, and print an object of theirs; those that differ"
        " in numbers only share what is compiled",
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
    ensemble = load_ensemble(folders, members)
    return _run_one(arguments, members[0], ensemble, ensemble=list(configs))


def run_together(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Evaluates several runs one by one; prints what `run` prints of each, by its name."""
    from seqjax.evaluation.evaluator import Evaluator
    from seqjax.training.trained import load_trained, tokenizer_files

    evaluators: dict[Any, Evaluator] = {}
    facts = {}
    for name, config in configs.items():
        folder = os.path.join(arguments.workdir, name)
        trained = load_trained(folder, config)
        known = program(config), *sorted(tokenizer_files(folder).items())
        if known not in evaluators:
            evaluators[known] = Evaluator(trained.task, trained.mesh, arguments.split)
        facts[name] = _facts(arguments, folder, config, trained, evaluators[known])
    if is_first():
        _print(facts)
    return 0


def _run_one(
    arguments: argparse.Namespace,
    config: ml_collections.ConfigDict,
    trained: "Trained",
    **more: Any,
) -> int:
    from seqjax.evaluation.evaluator import Evaluator

    evaluator = Evaluator(trained.task, trained.mesh, arguments.split)
    facts = _facts(arguments, arguments.workdir, config, trained, evaluator)
    if is_first():
        _print(facts | more)
    return 0


def _print(facts: Mapping[str, Any]) -> None:
    print(json.dumps(facts, indent=2, ensure_ascii=False))


def _facts(
    arguments: argparse.Namespace,
    workdir: str,
    config: ml_collections.ConfigDict,
    trained: "Trained",
    evaluator: "Evaluator",
) -> dict[str, Any]:
    """Evaluates, keeps and shows translations; returns what is known of them."""
    from seqjax.reporting.predictions import write_predictions
    from seqjax.training.state import parameter_count

    result = evaluator(trained.params)
    # Ensembles in one folder are told apart by their members.
    members = (arguments.ensemble or "").encode()
    name = f"-{hashlib.sha256(members).hexdigest()[:8]}" if members else ""
    split = f"{arguments.split}{name}{_changes(config, workdir)}"
    path = write_predictions(workdir, split, trained.step, result.hypotheses)
    if is_first():
        _show(result, arguments.show)
        print(f"hypotheses: {path}", file=sys.stderr)
    facts = {
        "workdir": str(run_path(workdir)),
        "split": arguments.split,
        "examples": len(result.hypotheses),
        "sources_cut": evaluator.tokenized.report["long_cut"],
        "step": trained.step,
        "averaged": config.decode.average,
        "beam_size": config.decode.beam_size,
        "parameters": parameter_count(trained.params),
        "output_tokens": result.output_tokens,
        "decoding_seconds": round(result.decoding_seconds, 3),
    }
    return facts | result.metrics


def _changes(config: ml_collections.ConfigDict, workdir: str) -> str:
    """Tells what is searched and scored otherwise than the run's config says, '' for nothing."""
    path = run_path(workdir) / "config.json"
    if not path.is_file():  # An ensemble's folder is no run.
        return ""
    _, here = differences([load(path, missing="default"), config])
    changed = {f: value for f, value in here.items() if f.startswith(("decode.", "evaluation."))}
    return f"-{label(changed)}" if changed else ""


def _count(text: str) -> int:
    if not text.isdecimal():
        raise UserError(f"--show={text}: expected 0 or more")
    return int(text)


def _show(result: "Evaluation", count: int) -> None:
    from seqjax.reporting.predictions import one_line

    triples = zip(result.sources, result.references, result.hypotheses, strict=True)
    for source, reference, hypothesis in list(triples)[:count]:
        for name, text in (("source", source), ("reference", reference), ("output", hypothesis)):
            print(f"{name:>9}  {one_line(text)}", file=sys.stderr)
        print(file=sys.stderr)

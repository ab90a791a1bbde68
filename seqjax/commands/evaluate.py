"""`evaluate`: metrics of a split as JSON on standard output."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

import ml_collections

from seqjax.errors import UserError
from seqjax.files import run_path
from seqjax.parallel.processes import is_first

if TYPE_CHECKING:
    from seqjax.evaluation.evaluator import Evaluation

HELP = "Scores a split with a trained model and prints the metrics as JSON."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--split` and `--show`."""
    parser.add_argument(
        "--split", default="test", help="train, validation, test, or a name in the corpus"
    )
    parser.add_argument(
        "--show", type=int, default=0, metavar="N", help="print the first N translations, too"
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Evaluates; the JSON object goes to standard output, all else to standard error."""
    from seqjax.evaluation.evaluator import Evaluator
    from seqjax.reporting.predictions import write_predictions
    from seqjax.training.state import parameter_count
    from seqjax.training.trained import load_trained

    if arguments.show < 0:
        raise UserError(f"--show={arguments.show}: expected 0 or more")
    trained = load_trained(arguments.workdir, config)
    evaluator = Evaluator(trained.task, trained.mesh, arguments.split)
    result = evaluator(trained.params)
    path = write_predictions(arguments.workdir, arguments.split, trained.step, result.hypotheses)
    if not is_first():
        return 0
    _show(result, arguments.show)
    print(f"hypotheses: {path}", file=sys.stderr)
    facts = {
        "workdir": str(run_path(arguments.workdir)),
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
    print(json.dumps(facts | result.metrics, indent=2, ensure_ascii=False))
    return 0


def _show(result: "Evaluation", count: int) -> None:
    from seqjax.reporting.predictions import one_line

    triples = zip(result.sources, result.references, result.hypotheses, strict=True)
    for source, reference, hypothesis in list(triples)[:count]:
        for name, text in (("source", source), ("reference", reference), ("output", hypothesis)):
            print(f"{name:>9}  {one_line(text)}", file=sys.stderr)
        print(file=sys.stderr)

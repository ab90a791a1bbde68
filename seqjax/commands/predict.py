"""`predict`: lines in on standard input, lines out on standard output, one for one."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from seqjax.errors import UserError
from seqjax.files import in_bucket, path_option, run_path
from seqjax.parallel.processes import from_first, is_first

if TYPE_CHECKING:
    from seqjax.evaluation.attender import Attender
    from seqjax.evaluation.translator import Translation
    from seqjax.training.trained import Trained

HELP = "Translates standard input line by line."

# Lines read before they are sorted by length and translated: enough to fill batches of equal
# length, and no more than a reader of a pipe would wait for.
_CHUNK = 10_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--n_best`, `--attention` and `--ensemble`."""
    parser.add_argument(
        "--n_best",
        type=int,
        metavar="N",
        help="print the N best outputs of each line with their scores, as JSON lines",
    )
    parser.add_argument(
        "--attention",
        metavar="DIR",
        type=path_option("--attention"),
        help="draw for line n how its best output attends to it: DIR/n.png, and DIR/n.json; an"
        " empty line has none",
    )
    parser.add_argument(
        "--ensemble",
        metavar="NAME,NAME,...",
        help="translate by the runs WORKDIR/NAME as one model: the mean of their probabilities",
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Translates until standard input ends."""
    from seqjax.training.trained import load_trained

    _check(arguments, config)
    return _translate(arguments, load_trained(arguments.workdir, config))


def run_ensemble(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Translates by several runs as one model."""
    from seqjax.training.trained import load_ensemble

    members = list(configs.values())
    if arguments.attention is not None:
        raise UserError("--attention: an ensemble has none of its own; expected one run")
    _check(arguments, members[0])
    folders = [run_path(arguments.workdir) / name for name in configs]
    return _translate(arguments, load_ensemble(folders, members))


def _translate(arguments: argparse.Namespace, trained: "Trained") -> int:
    from seqjax.evaluation.attender import Attender
    from seqjax.evaluation.translator import Translator
    from seqjax.reporting.predictions import one_line

    translator = Translator(trained.task, trained.mesh, arguments.n_best or 1)
    attender = Attender(trained.task, trained.mesh) if arguments.attention else None
    first = 1
    for lines in _shared_chunks():
        sources = trained.task.encode_sources(lines)
        outputs = translator(trained.params, sources)
        for line, found in zip(lines, outputs, strict=True):
            if is_first():
                print(_as_json(line, found) if arguments.n_best else one_line(found[0].text))
        sys.stdout.flush()
        if attender:
            best = [found[0].tokens for found in outputs]
            _draw(trained, attender, Path(arguments.attention), first, sources, best)
        first += len(lines)
    return 0


def _check(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> None:
    """Raises UserError where the options ask for what there is not."""
    wanted, beam = arguments.n_best, config.decode.beam_size
    if wanted is not None:
        if wanted < 1:
            raise UserError(f"--n_best={wanted}: expected 1 or more")
        if wanted > beam:
            raise UserError(
                f"--n_best={wanted}: expected at most decode.beam_size = {beam};"
                f" --config.decode.beam_size={wanted} keeps as many"
            )
    if arguments.attention is not None:
        folder = arguments.attention
        if not folder or in_bucket(folder) or Path(folder).is_file():
            raise UserError(f"--attention={folder}: expected a folder of this machine")
        if config.model.decoder.attention == "none":
            raise UserError("--attention: model.decoder.attention = 'none' has nothing to draw")


def _draw(
    trained: "Trained", attender: "Attender", folder: Path, first: int, sources, outputs
) -> None:
    """Writes a map of each line that was translated; `first` is the number of the first one."""
    from seqjax.reporting.attention_maps import write_map

    # An empty line has an empty output without a model.
    drawn = [i for i, tokens in enumerate(outputs) if tokens]
    sources, outputs = ([side[i] for i in drawn] for side in (sources, outputs))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizers = trained.task.tokenizers
    for i, layers in attender(trained.params, sources, outputs):
        pieces = tokenizers.source.pieces(sources[i]), tokenizers.target.pieces(outputs[i])
        if is_first():
            write_map(folder / str(first + drawn[i]), *pieces, layers)


def _as_json(source: str, found: "list[Translation]") -> str:
    outputs = [
        {
            "text": translation.text,
            "score": translation.score,
            "log_probability": translation.log_probability,
            "length": translation.length,
        }
        for translation in found
    ]
    return json.dumps({"source": source, "outputs": outputs}, ensure_ascii=False)


def _shared_chunks() -> Iterator[list[str]]:
    """Yields the chunks that the first process reads, in all of them."""
    chunks = _chunks() if is_first() else iter(())
    while lines := json.loads(from_first(json.dumps(next(chunks, [])).encode())):
        yield lines


def _chunks() -> Iterator[list[str]]:
    """Yields standard input in lists of lines; only a line feed ends a line."""
    lines: list[str] = []
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            # A byte order mark is no part of the first line.
            encoding = "utf-8-sig" if number == 1 else "utf-8"
            lines.append(line.decode(encoding).removesuffix("\n").removesuffix("\r"))
        except UnicodeDecodeError as error:
            raise UserError(f"standard input, line {number}: not UTF-8 ({error.reason})") from error
        if len(lines) == _CHUNK:
            yield lines
            lines = []
    if lines:
        yield lines

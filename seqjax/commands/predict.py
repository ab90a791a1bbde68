"""`predict`: lines in on standard input, lines out on standard output, one for one."""

import argparse
import functools
import json
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from seqjax.commands.standard_streams import named_output
from seqjax.errors import UserError, as_user_error
from seqjax.files import in_bucket, path_option, run_path
from seqjax.line_input import LineInput
from seqjax.parallel.processes import is_first, shared
from seqjax.reporting.predictions import one_line
from seqjax.stages import stage

if TYPE_CHECKING:
    from seqjax.evaluation.translator import Translation
    from seqjax.training.trained import Trained

log = logging.getLogger(__name__)

HELP = "Translates standard input line by line."

# Lines that are translated together, at most.
_CHUNK = 10_000
# Seconds between two looks for input.
_PATIENCE = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--trial`, `--n_best`, `--attention` and `--ensemble`."""
    parser.add_argument(
        "--trial",
        metavar="NAME",
        help="translate by this trial of the sweep in WORKDIR; 'best': the first of its table",
    )
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
        help="draw the attention of each line's best output as DIR/LINE.png, with the weights in"
        " DIR/LINE.json; an empty line has none",
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
        raise UserError("--attention: expected one run, since an ensemble has no attention")
    _check(arguments, members[0])
    folders = [run_path(arguments.workdir) / name for name in configs]
    return _translate(arguments, load_ensemble(folders, members))


def _translate(arguments: argparse.Namespace, trained: "Trained") -> int:
    from seqjax.evaluation.limits import limited_outputs
    from seqjax.evaluation.translator import AdaptiveTranslator

    maps = _Maps(trained, Path(arguments.attention)) if arguments.attention is not None else None
    translator = AdaptiveTranslator(trained.task, trained.mesh, arguments.n_best or 1)
    reader: LineInput | None = None
    count = limited = 0

    def read() -> list[str] | None:
        nonlocal reader
        reader = reader or LineInput(sys.stdin)
        return reader.take(_CHUNK, _PATIENCE)

    while (lines := shared(read)) is not None:
        if not lines:  # Input pauses; asked so often, no process waits too long for another.
            continue
        sources = trained.task.encode_sources(lines)
        name = f"translating lines {count + 1:,} to {count + len(lines):,}"
        outputs = translator(trained.params, sources, name=name)
        shared(functools.partial(_print, lines, outputs, arguments.n_best))
        if maps:
            maps.draw(count + 1, sources, [found[0].tokens for found in outputs])
        count += len(lines)
        limited += sum(found[0].at_limit for found in outputs)
    if limited and is_first():
        log.warning("%s", limited_outputs(trained.task, limited, count))
    if maps:
        shared(maps.check)
    return 0


def _print(lines: Sequence[str], outputs: "Sequence[list[Translation]]", n_best: int) -> None:
    """Writes the outputs of some lines; they have left this process when it returns."""
    pairs = zip(lines, outputs, strict=True)
    written = (_as_json(*pair) if n_best else one_line(pair[1][0].text) for pair in pairs)
    text = "".join(f"{line}\n" for line in written)
    with named_output():
        print(text, end="", flush=True)


def _check(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> None:
    """Raises UserError if an option asks for more than the run has."""
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
            raise UserError(f"--attention={folder}: expected a local folder")
        if config.model.decoder.attention == "none":
            raise UserError("model.decoder.attention = 'none': expected an attention to draw")


class _Maps:
    """Draws attention; a map that cannot be written does not keep lines from being translated."""

    def __init__(self, trained: "Trained", folder: Path):
        """Makes the folder.

        Raises:
          UserError: it cannot be made.
        """
        from seqjax.evaluation.attender import Attender

        self._trained, self._folder = trained, folder
        self._attender = Attender(trained.task, trained.mesh)
        self._failure: OSError | None = None
        shared(self._make)

    def _make(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder):
                pass
        except OSError as error:
            reason = f"expected a folder that can be written ({error.strerror})"
            raise as_user_error(error, f"--attention={self._folder}: {reason}") from error

    def draw(self, first: int, sources: Sequence, outputs: Sequence) -> None:
        """Writes a map of each line that is not empty; `first` is the number of the first line."""
        from seqjax.reporting.attention_maps import write_map

        # An empty line has an empty output without a model.
        drawn = [i for i, tokens in enumerate(outputs) if tokens]
        sources, outputs = ([side[i] for i in drawn] for side in (sources, outputs))
        tokenizers = self._trained.task.tokenizers
        maps = self._attender(self._trained.params, sources, outputs)
        with stage("drawing attention", len(drawn), "maps") as advance:
            for done, (i, layers) in enumerate(maps, start=1):
                if is_first() and self._failure is None:
                    number = str(first + drawn[i])
                    pieces = (
                        tokenizers.source.pieces(sources[i]),
                        tokenizers.target.pieces(outputs[i]),
                    )
                    texts = (
                        tokenizers.source.decode(sources[i]),
                        tokenizers.target.decode(outputs[i]),
                    )
                    try:
                        write_map(self._folder / number, *pieces, layers, *texts)
                    except OSError as error:
                        self._failure = error
                        log.warning(
                            "%s: map %s not written (%s); no further maps are drawn",
                            self._folder,
                            number,
                            error.strerror or error,
                        )
                advance(done)

    def check(self) -> None:
        """Raises what kept maps from being written, once all lines are translated."""
        if error := self._failure:
            reason = error.strerror or error
            raise as_user_error(error, f"--attention={self._folder}: maps are missing ({reason})")


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

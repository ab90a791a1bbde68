"""What `predict` does with the lines of a translation."""

import argparse
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ml_collections

from seqjax.errors import UserError, as_user_error
from seqjax.files import in_bucket
from seqjax.parallel.processes import is_first, shared
from seqjax.reporting.predictions import one_line
from seqjax.stages import stage

if TYPE_CHECKING:
    from seqjax.evaluation.translator import Translation
    from seqjax.training.trained import Trained

log = logging.getLogger(__name__)


def check_options(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> None:
    """Raises UserError if an option asks for more than the run has."""
    if arguments.samples is not None:
        raise UserError(
            f"--samples={arguments.samples}: expected --n_best with task = {config.task!r}"
        )
    wanted, beam = arguments.n_best, config.decode.beam_size
    if wanted is not None:
        if wanted < 1:
            raise UserError(f"--n_best={wanted}: expected 1 or more")
        if wanted > beam and config.decode.method != "sample":
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


class Answers:
    """Translates lines, and draws attention if that is asked for."""

    # Many lines fill batches of equal length.
    most = 10_000
    live = False

    def __init__(self, arguments: argparse.Namespace, trained: "Trained"):
        from seqjax.evaluation.translator import AdaptiveTranslator

        self._trained, self._n_best = trained, arguments.n_best
        self._maps = None
        if arguments.attention is not None:
            self._maps = _Maps(trained, Path(arguments.attention))
        self._translator = AdaptiveTranslator(trained.task, trained.mesh, arguments.n_best or 1)
        self._outputs: list[list[Translation]] = []
        self._sources: list[list[int]] = []
        self._count = self._limited = 0

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """Returns what is printed for each line."""
        self._sources = self._trained.task.encode_sources(lines)
        name = f"translating lines {self._count + 1:,} to {self._count + len(lines):,}"
        self._outputs = self._translator(self._trained.params, self._sources, name=name)
        pairs = zip(lines, self._outputs, strict=True)
        return [_as_json(*pair) if self._n_best else one_line(pair[1][0].text) for pair in pairs]

    def printed(self) -> None:
        """Draws what has been printed."""
        if self._maps:
            best = [found[0].tokens for found in self._outputs]
            self._maps.draw(self._count + 1, self._sources, best)
        self._count += len(self._outputs)
        self._limited += sum(found[0].at_limit for found in self._outputs)

    def finish(self) -> None:
        """Warns of outputs at their limit; raises if maps are missing."""
        from seqjax.tasks.output_limits import limited_outputs

        if self._limited and is_first():
            log.warning("%s", limited_outputs(self._trained.task, self._limited, self._count))
        if self._maps:
            shared(self._maps.check)


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
                        tokenizers["source"].pieces(sources[i]),
                        tokenizers["target"].pieces(outputs[i]),
                    )
                    texts = (
                        tokenizers["source"].decode(sources[i]),
                        tokenizers["target"].decode(outputs[i]),
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

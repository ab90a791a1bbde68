"""A trained run in Python and in notebooks: translate, continue, score, look, evaluate."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seqjax.config_files import load_run_config
from seqjax.data.examples import encode
from seqjax.data.tokenizer import EOS
from seqjax.errors import UserError
from seqjax.evaluation.attender import Attender
from seqjax.evaluation.evaluator import Evaluation, Evaluator
from seqjax.evaluation.generator import Continuation, Generator
from seqjax.evaluation.scorer import Score, Scorer
from seqjax.evaluation.translator import AdaptiveTranslator, Translation
from seqjax.fields import set_fields
from seqjax.training.trained import load_trained
from seqjax.validation import check_value, settled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class AttentionMaps:
    """Where a model looks in a source while it produces an output.

    Attributes:
      source, output: the tokens of both, S and T of them, each with the end of the sentence.
      weights: an array [H, T, S] for each layer, first layer first; each row sums to 1.
      source_text, output_text: the sentences.
    """

    source: list[str]
    output: list[str]
    weights: list[np.ndarray]
    source_text: str
    output_text: str

    def figure(self) -> "Figure":
        """Returns all maps as a Matplotlib figure: a row for each layer, a column for each head."""
        from seqjax.reporting.attention_maps import attention_figure

        texts = self.source_text, self.output_text
        return attention_figure(self.source, self.output, self.weights, *texts)


class TrainedRun:
    """A run directory that has been loaded. See `load_run`.

    Attributes:
      config: its config, with the fields that `load_run` was given.
      step: of the checkpoint that was loaded.
      params: the parameters, a tree of arrays.
      task: gives loss, search and attention as functions of parameters and arrays.
      mesh: the devices that hold the parameters.
    """

    def __init__(self, workdir: str | Path, fields: Mapping[str, Any]):
        config = load_run_config("load_run", None, str(workdir))
        set_fields(config, {field: check_value(field, value) for field, value in fields.items()})
        self.config = settled(config)
        trained = load_trained(workdir, self.config)
        self.step, self.params = trained.step, trained.params
        self.task, self.mesh = trained.task, trained.mesh
        self._workdir = str(workdir)
        self._translators: dict[int, AdaptiveTranslator] = {}
        self._generators: dict[int, Generator] = {}

    def __repr__(self) -> str:
        return f"<run {self._workdir} at step {self.step}>"

    def generate(self, prompts: Iterable[str], samples: int = 1) -> list[list[Continuation]]:
        """Returns continuations of each prompt by a language model, as `config.decode` says.

        Raises:
          UserError: the run is no language model, or fewer than one sample is asked for.
        """
        self._require("language_model")
        if samples < 1:
            raise UserError(f"samples = {samples}: expected 1 or more")
        if samples not in self._generators:
            self._generators[samples] = Generator(self.task, self.mesh, samples)
        return self._generators[samples](self.params, _listed(prompts))

    def translate(self, sentences: Iterable[str]) -> list[str]:
        """Returns the best output of each sentence; that of an empty one is empty."""
        return [found[0].text for found in self.search(sentences)]

    def search(self, sentences: Iterable[str], n_best: int = 1) -> list[list[Translation]]:
        """Returns up to `n_best` outputs of each sentence with their scores, best first.

        With `decode.method` = 'sample' they are as many samples, in the order of their indices.

        Raises:
          UserError: more are asked for than `decode.beam_size`, or the run does not translate.
        """
        self._require("text_to_text")
        decode = self.config.decode
        if n_best < 1 or (n_best > decode.beam_size and decode.method != "sample"):
            raise UserError(
                f"n_best = {n_best}: expected 1 to decode.beam_size = {decode.beam_size}"
            )
        if n_best not in self._translators:
            self._translators[n_best] = AdaptiveTranslator(self.task, self.mesh, n_best)
        sources = self.task.encode_sources(_listed(sentences))
        return self._translators[n_best](self.params, sources)

    def score(self, sources: Iterable[str], targets: Iterable[str]) -> list[Score]:
        """Returns log p(target | source) for each pair.

        Raises:
          UserError: the two sides differ in number, or the run does not translate.
        """
        self._require("text_to_text")
        sources, targets = _listed(sources), _listed(targets)
        if len(sources) != len(targets):
            raise UserError(
                f"{len(targets)} targets: expected as many as sources, {len(sources)} of them"
            )
        return self._scorer(self.params, self.task.encode_sources(sources), self._targets(targets))

    def attention(self, source: str, output: str | None = None) -> AttentionMaps:
        """Returns the attention for a sentence and an output, by default the one it finds.

        Raises:
          UserError: the model has no attention to a source, or the sentence is empty.
        """
        self._require("text_to_text")
        if self.config.model.decoder.attention == "none":
            raise UserError("model.decoder.attention = 'none': expected a model with attention")
        (ids,) = self.task.encode_sources([source])
        if ids == [EOS]:
            raise UserError("source = '': expected a sentence that is not empty")
        if output is None:
            (best,) = self.search([source])[0]
            output, target = best.text, list(best.tokens)
        else:
            (target,) = self._targets([output])
        ((_, weights),) = self._attender(self.params, [ids], [target])
        tokenizers = self.task.tokenizers
        pieces = tokenizers["source"].pieces(ids), tokenizers["target"].pieces(target)
        return AttentionMaps(*pieces, weights, source, output)

    def evaluate(self, split: str = "test", limit: int = -1) -> Evaluation:
        """Returns metrics and texts of a split, or of its first `limit` examples; writes nothing.

        See `Evaluator.__call__` for what each metric is.
        """
        return Evaluator(self.task, self.mesh, split, limit)(self.params)

    def _require(self, task: str) -> None:
        if self.config.task != task:
            raise UserError(f"task = {self.config.task!r}: expected {task!r}")

    def _targets(self, texts: Sequence[str]) -> list[list[int]]:
        return [[*ids, EOS] for ids in encode(self.task.tokenizers["target"], texts)]

    @functools.cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.task, self.mesh)

    @functools.cached_property
    def _attender(self) -> Attender:
        return Attender(self.task, self.mesh)


def _listed(sentences: Iterable[str]) -> list[str]:
    """Returns sentences as a list.

    Raises:
      UserError: a single string, whose characters would be taken for sentences.
    """
    if isinstance(sentences, str):
        raise UserError(f"sentences = {sentences!r}: expected a list of strings")
    return list(sentences)

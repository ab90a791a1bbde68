"""What a study is, and how its file is read."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import ml_collections

from seqjax.config import default_config
from seqjax.config_files import mistakes_in, run_file
from seqjax.errors import UserError, did_you_mean
from seqjax.fields import conform, flatten
from seqjax.overrides import apply_overrides
from seqjax.validation import validate

# What is known of a trial that was trained and evaluated on a split. Times are without compiling;
# those of the training without evaluating and saving, too, and over all its sessions.
COLUMNS = (
    "parameters",
    "updates",
    "training_seconds",
    "loss",
    "perplexity",
    "accuracy",
    "bleu",
    "chrf",
    "ter",
    "exact_match",
    "error_rate",
    "output_tokens",
    "decoding_seconds",
    "output_tokens_per_second",
)
# A trial's name is that of its folder.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# The tables lie beside those folders; some file systems do not tell capitals apart.
_TABLES = ("results.csv", "results.md")


@dataclasses.dataclass(frozen=True)
class Study:
    """Trials that are trained under one budget and compared in one table.

    Attributes:
      name: what the table is headed with.
      trials: the config of each trial by its name, in the order of the table.
      splits: the splits that every trial is evaluated on.
      columns: what the table shows, among `COLUMNS`.

    Raises:
      UserError: there is no trial or split, a name that no folder may have, or an unknown column.
    """

    name: str
    trials: Mapping[str, ml_collections.ConfigDict]
    splits: tuple[str, ...] = ("test",)
    columns: tuple[str, ...] = (
        ("parameters", "updates", "training_seconds", "loss", "perplexity", "bleu", "exact_match")
        + ("output_tokens_per_second",)
    )  # fmt: skip

    def __post_init__(self):
        if not self.trials or not self.splits:
            raise UserError(f"study {self.name!r}: expected at least one trial and one split")
        for name in self.trials:
            if not _NAME.fullmatch(name):
                raise UserError(f"trial {name!r}: expected letters, digits, '.', '_' and '-' only")
            if name.lower() in _TABLES:
                raise UserError(f"trial {name!r}: the sweep writes a table there; rename the trial")
        for column in self.columns:
            if column not in COLUMNS:
                raise UserError(
                    f"column {column!r}: expected one of {', '.join(COLUMNS)}"
                    f"{did_you_mean(column, COLUMNS)}"
                )

    def configs(self, overrides: Sequence[tuple[str, str]]) -> dict[str, ml_collections.ConfigDict]:
        """Returns the config of each trial with the same fields changed, checked.

        Raises:
          UserError: an unknown field, or a value that some trial cannot have; it names the trial.
        """
        # What is wrong in every trial is told without one.
        apply_overrides(default_config(), overrides)
        configs = {}
        for name, config in self.trials.items():
            try:
                configs[name] = conform(flatten(config))
                apply_overrides(configs[name], overrides)
                validate(configs[name])
            except UserError as error:
                raise UserError(f"trial {name!r}: {error}") from error
        return configs

    def chosen(self, names: Sequence[str]) -> list[str]:
        """Returns the trials of these names in the order of the study; of no names, all.

        Raises:
          UserError: an unknown name, with the known ones.
        """
        for name in names:
            if name not in self.trials:
                raise UserError(
                    f"--trial={name}: expected one of {', '.join(self.trials)}"
                    f"{did_you_mean(name, self.trials)}"
                )
        return [name for name in self.trials if name in names or not names]


def load_study(path: str) -> Study:
    """Returns what `get_study()` of a Python file returns.

    Raises:
      UserError: no such file, no get_study, or a mistake in the file, told with its line.
    """
    module = run_file(path, "--study")
    if not callable(getattr(module, "get_study", None)):
        raise UserError(f"{path}: has no function get_study()")
    with mistakes_in(path):
        study = module.get_study()
        if not isinstance(study, Study):
            raise UserError(f"get_study() returns {type(study).__name__}, expected a Study")
        return study

"""seqjax: a laboratory for sequence models in JAX.

`load_run` loads a trained run in Python; `python -m seqjax --help` lists the commands.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqjax.trained_run import TrainedRun

__version__ = "0.1.0"


def load_run(workdir: str | Path, fields: Mapping[str, Any] | None = None) -> "TrainedRun":
    """Loads a trained run from its directory, local or in a `gs://` bucket.

    Args:
      workdir: the run directory that `train` was given.
      fields: fields of the config that differ from the run's, `{"decode.beam_size": 5}`. What the
        model is made of is fixed.

    Raises:
      UserError: there is no trained run, or a field is wrong.
    """
    # Imported here: JAX takes seconds, and the command line asks for the version only.
    from seqjax.trained_run import TrainedRun

    return TrainedRun(workdir, fields or {})

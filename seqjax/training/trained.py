"""A trained model, from its run directory alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
from jax.sharding import Mesh

from seqjax.data.tokenizer import load_tokenizers
from seqjax.errors import UserError
from seqjax.fields import flatten, load
from seqjax.files import run_path
from seqjax.parallel.sharding import parameter_shardings, placed
from seqjax.tasks.ensemble import Ensemble
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.devices import mesh_of

# Fields that a trained model is made of: after training they are facts.
_FIXED = ("task", "tokenizer.", "model.", "optimizer.moving_average")


class Trained(NamedTuple):
    """A task with parameters, the step they are from, and the devices that hold them."""

    task: TextToText
    params: dict | tuple[dict, ...]
    step: int
    mesh: Mesh


def load_trained(workdir: str | Path, config: ml_collections.ConfigDict) -> Trained:
    """Loads the checkpoint that `config.decode` names from a run directory.

    Raises:
      UserError: there is no such checkpoint, or an override changes what the model is made of.
    """
    workdir = run_path(workdir)
    # Without dropout a loop over layers changes nothing.
    refuse_changes(config, workdir, _FIXED, "after training it is fixed", but=(".scan_layers",))
    mesh = mesh_of(config)
    tokenizers = load_tokenizers(workdir / "tokenizer")
    task = TextToText(config, tokenizers)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    like = placed(shapes, parameter_shardings(mesh, shapes))
    checkpoints = Checkpoints(workdir, config.checkpoint, read_only=True)
    item = "average" if config.optimizer.moving_average else "params"
    which, count = config.decode.checkpoint, config.decode.average
    params, step = checkpoints.restore_params(which, count, like, item)
    checkpoints.close()
    return Trained(task, params, step, mesh)


def load_ensemble(
    workdirs: Sequence[str | Path], configs: Sequence[ml_collections.ConfigDict]
) -> Trained:
    """Loads several runs as one model, which searches as the first config says.

    Its step is the last one of theirs.

    Raises:
      UserError: as `load_trained`, or two runs have other tokenizers.
    """
    members = []
    longest = min(config.data.max_source_length for config in configs)
    for workdir, config in zip(workdirs, configs, strict=True):
        if tokenizer_files(workdir) != tokenizer_files(workdirs[0]):
            raise UserError(
                f"{workdir} has other tokenizers than {workdirs[0]}: the runs of an ensemble share"
                " theirs"
            )
        # They are searched as one, on the same devices, from sources that all of them can read.
        config.decode, config.parallel = configs[0].decode, configs[0].parallel
        config.data.max_source_length = longest
        members.append(load_trained(workdir, config))
    return Trained(
        Ensemble([member.task for member in members]),
        tuple(member.params for member in members),
        max(member.step for member in members),
        members[0].mesh,
    )


def tokenizer_files(workdir: str | Path) -> dict[str, bytes]:
    """Returns the content of a run's tokenizers by file."""
    folder = run_path(workdir) / "tokenizer"
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def refuse_changes(
    config: ml_collections.ConfigDict,
    workdir: Path,
    fields: tuple[str, ...],
    reason: str,
    but: tuple[str, ...] = (),
) -> None:
    """Raises a UserError where a field that begins like one of `fields` differs from the run's.

    Those that end like one of `but` may differ. How layers are computed (`implementation`,
    `rematerialize`) is no part of what a run is, nor are its devices.
    """
    saved = flatten(load(workdir / "config.json", missing="default"))
    for path, value in flatten(config).items():
        if path.endswith((".implementation", ".rematerialize", *but)):
            continue
        if path.startswith(fields) and saved[path] != value:
            raise UserError(
                f"{path} is {value!r}, but the run in {workdir} has {saved[path]!r}: {reason}"
            )

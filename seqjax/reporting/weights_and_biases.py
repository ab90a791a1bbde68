"""A run of Weights & Biases, continued under the same id when the training is."""

import importlib.util
import os
import uuid
from collections.abc import Mapping
from netrc import netrc
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seqjax.errors import UserError
from seqjax.files import absolute, in_bucket


def require_wandb(project: str) -> None:
    """Raises UserError if metrics are to go to a project and wandb is not installed."""
    if project and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"reporting.wandb_project = {project!r}: needs an extra package:"
            " pip install 'seqjax[wandb]', or leave it empty"
        )


def require_key(project: str) -> None:
    """Raises UserError if metrics are to go to a project and W&B has no API key to send them with.

    Nothing is sent: whether the key is valid shows when the run begins.
    """
    if project and not _has_key():
        raise UserError(
            f"reporting.wandb_project = {project!r}: expected an API key of W&B, by 'wandb login'"
            " or WANDB_API_KEY; WANDB_MODE=offline needs none"
        )


def _has_key() -> bool:
    """Returns whether W&B will find a key, or needs none; True if that cannot be found out."""
    import wandb

    try:
        settings = wandb.setup().settings
        if settings.mode != "online" or settings.api_key or settings.identity_token_file:
            return True
        host = urlsplit(settings.base_url).hostname
        files = (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")
        paths = [Path(name).expanduser() for name in files if name]
        return any(netrc(path).authenticators(host) for path in paths if path.is_file())
    except Exception:  # Another version of W&B: the start of the run will show it.
        return True


class WandbRun:
    """Metrics of a run in a project of W&B."""

    def __init__(self, workdir: Path, project: str, run_config: Mapping[str, Any]):
        """Begins or continues the run.

        Raises:
          Exception: what W&B raises if it rejects the API key, or for any other reason.
        """
        import wandb

        id_file = workdir / "wandb_id.txt"
        if not id_file.exists():
            id_file.write_text(uuid.uuid4().hex[:8] + "\n")
        self._run = wandb.init(
            project=project,
            id=id_file.read_text().strip(),
            resume="allow",
            name=absolute(workdir).name,
            dir=None if in_bucket(workdir) else str(workdir),
            config=dict(run_config),
            # A resumed run may differ in fields such as the duration.
            allow_val_change=True,
        )
        # W&B's own counter cannot go back to the step of a checkpoint; ours is one more metric.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Mapping[str, int | float | str]) -> None:
        """Adds numbers and strings by name."""
        self._run.log({"step": step} | dict(values))

    def text(self, step: int, name: str, text: str) -> None:
        """Adds a text."""
        self._run.log({"step": step, name: text})

    def close(self) -> None:
        """Waits until all is sent."""
        self._run.finish()

"""What to do with a trained run, as commands that can be pasted."""

import shlex

import ml_collections

from seqjax.data.corpus import has_split
from seqjax.invocation import command_line
from seqjax.reporting.predictions import one_line


def next_steps(
    workdir: str, config: ml_collections.ConfigDict, sentence: str, names: str = ""
) -> list[str]:
    """Returns commands: score, translate, look at attention and at the curves.

    Args:
      workdir: the run directory, or the folder of several runs.
      config: the run's config.
      sentence: a source to translate.
      names: the runs in the folder if there are several: 'a,b,c'.
    """
    # One of several runs translates; all are scored.
    run = f"{workdir.rstrip('/')}/{names.split(',')[0]}" if names else workdir
    together = [f"--together={names}"] if names else []
    # Only a corpus that has been held out in part has a test split.
    split = "test" if has_split(config.data, "test") else "validation"
    said = f"{_echo(one_line(sentence))} | "
    steps = [
        command_line(["evaluate", f"--workdir={workdir}", f"--split={split}", *together]),
        said + command_line(["predict", f"--workdir={run}"]),
    ]
    if config.model.decoder.attention != "none":
        maps = "maps" if "://" in run else f"{run.rstrip('/')}/attention"
        steps.append(said + command_line(["predict", f"--workdir={run}", f"--attention={maps}"]))
    steps.append(command_line(["report", run]))
    if config.reporting.tensorboard:
        steps.append(shlex.join(["tensorboard", f"--logdir={workdir}"]))
    return steps


def _echo(line: str) -> str:
    """Returns the command that prints a line as it is, in any shell."""
    # `echo` takes '-n' for an option, and in some shells a backslash for an escape.
    if line.startswith("-") or "\\" in line:
        return shlex.join(["printf", "%s\\n", line])
    return shlex.join(["echo", line])

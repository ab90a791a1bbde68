"""What to do with a trained run, as commands that can be pasted."""

import shlex

import ml_collections

from seqjax.data.corpus import has_split
from seqjax.invocation import command_line
from seqjax.reporting.predictions import one_line
from seqjax.tasks.declared import TASKS


def next_steps(
    workdir: str, config: ml_collections.ConfigDict, sentence: str, names: str = ""
) -> list[str]:
    """Returns commands: score, translate or continue, look at attention and at the curves.

    Args:
      workdir: the run directory, or the folder of several runs.
      config: the run's config.
      sentence: a text to translate or to continue.
      names: the runs in the folder if there are several: 'a,b,c'.
    """
    # One of several runs translates; all are scored.
    run = f"{workdir.rstrip('/')}/{names.split(',')[0]}" if names else workdir
    together = [f"--together={names}"] if names else []
    # Only a corpus that has been held out in part has a test split.
    split = "test" if has_split(config.data, "test", TASKS[config.task].roles) else "validation"
    said = f"{_echo(_beginning(sentence))} | "
    steps = [command_line(["evaluate", f"--workdir={workdir}", f"--split={split}", *together])]
    lines = TASKS[config.task].lines
    if lines:
        steps.append(said + command_line(["predict", f"--workdir={run}"]))
    if lines == "translating" and config.model.decoder.attention != "none":
        maps = "maps" if "://" in run else f"{run.rstrip('/')}/attention"
        steps.append(said + command_line(["predict", f"--workdir={run}", f"--attention={maps}"]))
    steps.append(command_line(["report", run]))
    if config.reporting.tensorboard:
        steps.append(shlex.join(["tensorboard", f"--logdir={workdir}"]))
    return steps


# Characters of a text that is shown as a sentence.
_LONGEST = 200


def _beginning(text: str) -> str:
    """Returns a text as one line; of a longer one its first words."""
    if len(text) <= _LONGEST:
        return one_line(text)
    line = one_line(text.strip()[:40])
    return line.rpartition(" ")[0] or line


def _echo(line: str) -> str:
    """Returns the command that prints a line as it is, in any shell."""
    # `echo` takes '-n' for an option, and in some shells a backslash for an escape.
    if line.startswith("-") or "\\" in line:
        return shlex.join(["printf", "%s\\n", line])
    return shlex.join(["echo", line])

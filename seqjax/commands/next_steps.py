"""What to do with a trained run, as commands that can be pasted."""

import shlex

import ml_collections


def command(*words: str) -> str:
    """Returns a command of `launch.py` as a shell takes it."""
    return shlex.join(["python", "launch.py", *words])


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
    said = f"echo {shlex.quote(sentence)} | "
    steps = [
        command("evaluate", f"--workdir={workdir}", "--split=test", *together),
        said + command("predict", f"--workdir={run}"),
    ]
    if config.model.decoder.attention != "none":
        maps = "maps" if "://" in run else f"{run.rstrip('/')}/attention"
        steps.append(said + command("predict", f"--workdir={run}", f"--attention={maps}"))
    steps.append(command("report", run))
    if config.reporting.tensorboard:
        steps.append(shlex.join(["tensorboard", f"--logdir={workdir}"]))
    return steps

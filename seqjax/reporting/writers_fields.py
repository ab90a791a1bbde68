"""The fields of where training metrics are written."""

from seqjax.rules import ANYTHING, EVERY, Field

FIELDS = {
    "reporting.every": Field(
        "50 steps",
        EVERY,
        "How often training metrics are written (a duration).",
    ),
    "reporting.tensorboard": Field(
        True,
        ANYTHING,
        "Write TensorBoard events into the run's folder.",
    ),
    "reporting.wandb_project": Field(
        "",
        ANYTHING,
        "Project of Weights & Biases; '' is off. Needs the extra `wandb`.",
    ),
}

"""Programs that one test has compiled, for the others of its process.

To trace and to lower an update takes a second even if its machine code is found on disk, and
hundreds of tests train, evaluate or search models that are the same. Whatever decides what is
compiled is part of a program's key, replaced methods included; a task whose config has changed
since is compiled anew.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import jax

# Programs that are kept of each kind.
_MOST = 64
# What is read before the first update, or decides when something is done.
_BESIDE = ("checkpoint", "data", "evaluation", "reporting", "train")
_CONTEXT = ("jax_default_matmul_precision", "jax_disable_most_optimizations", "jax_enable_x64")


def _key_of(task: Any) -> Hashable:
    """Returns what the functions of a task depend on; None if they are not those of its class."""
    if any(
        hasattr(value, "__func__") or hasattr(value, "__code__") for value in vars(task).values()
    ):
        return None
    config = {key: value for key, value in task.config.to_dict().items() if key not in _BESIDE}
    # The cache is part of a score; the rest of its section is not.
    evaluation = task.config.evaluation
    config["cache"] = [evaluation[name] for name in evaluation if name.startswith("cache")]
    sizes = tuple((role, task.tokenizers[role].vocabulary_size) for role in sorted(task.tokenizers))
    context = tuple(jax.config.values[name] for name in _CONTEXT)
    # An ensemble has more models than its config describes.
    members = getattr(getattr(task, "model", None), "members", ())
    return (*_methods(type(task)), repr(config), sizes, context, members)


def _methods(kind: type) -> tuple:
    return tuple(
        value
        for each in kind.__mro__
        for value in vars(each).values()
        if hasattr(value, "__code__")
    )


class _Known:
    """What was made for tasks, by key."""

    def __init__(self):
        self._known: OrderedDict[Hashable, tuple[Any, Any]] = OrderedDict()

    def shared(self, task: Any, more: Hashable, make: Callable[[], Any]) -> Any:
        """Returns what was made for an equal task, or else makes it."""
        key = _key_of(task)
        if key is None:
            return make()
        if (key, more) in self._known:
            other, found = self._known[key, more]
            if _key_of(other) == key:
                self._known.move_to_end((key, more))
                return found
        self._known[key, more] = task, make()
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return self._known[key, more][1]


def share() -> None:
    """Has this process compile an update, a score or a search that it knows no second time."""
    from seqjax.evaluation.evaluator import Evaluator
    from seqjax.evaluation.generator import Generator
    from seqjax.evaluation.translator import Translator
    from seqjax.training.program import Single

    _share_attributes(Evaluator, ["_score"], lambda task, mesh, *_, **__: mesh)
    _share_attributes(
        Translator, ["_search"], lambda task, mesh, n_best=1, *_, **__: (mesh, n_best)
    )
    _share_attributes(
        Generator,
        ["_draw", "_begin", "_advance"],
        lambda task, mesh, samples=1: (mesh, samples),
    )
    init, updates = Single.__init__, _Known()

    @functools.wraps(init)
    def init_update(self, config, prepared):
        durations = prepared.durations
        total = durations.total if config.schedule.kind in ("cosine", "linear") else None
        steps = durations.warmup, durations.hold, durations.interval, total
        more = prepared.mesh, steps, prepared.plan.largest.rows

        def make():
            init(self, config, prepared)
            return dict(vars(self))

        own = prepared.task.config
        if config is own or config.to_dict() == own.to_dict():
            vars(self).update(updates.shared(prepared.task, more, make))
        else:
            make()

    Single.__init__ = init_update


def _share_attributes(kind: type, names: list[str], more: Callable[..., Hashable]) -> None:
    """Has equal instances of a class, which begins with a task, share some attributes."""
    init, known = kind.__init__, _Known()

    @functools.wraps(init)
    def init_shared(self, task, *arguments, **options):
        init(self, task, *arguments, **options)
        found = known.shared(
            task,
            more(task, *arguments, **options),
            lambda: {name: getattr(self, name) for name in names},
        )
        vars(self).update(found)

    kind.__init__ = init_shared

"""The sharding of parameters, and of arrays shaped like them.

One table gives the dimension along which a parameter is divided over the mesh axis `model`. Over
the axis `fsdp` every matrix is divided along its largest remaining dimension (Rajbhandari et al.,
2020; Zhao et al., 2023).
"""

import functools
import logging
import re
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.errors import UserError

log = logging.getLogger(__name__)

_WHOLE = None


class ShardingRule(NamedTuple):
    """How parameters are divided over the axis `model`.

    Attributes:
      path: a regular expression for the whole path, `decoder/block_0/inner/outer/kernel`.
      dimension: the dimension that is divided, None for replicated parameters.
      optional: whether a dimension that is not divisible is replicated; otherwise it is an error.
    """

    path: str
    dimension: int | None
    optional: bool = False


# Every parameter of every model matches exactly one rule. Transformer layers are divided by heads
# and by feed-forward units (Shoeybi et al., 2019): matrices into them by columns, matrices out of
# them by rows, so that devices exchange only the sum of each sublayer.
RULES = (
    ShardingRule(r"\w+/block_\d+/(attention|cross)/(query|key|value)/(kernel|bias)", -1),
    ShardingRule(r"\w+/block_\d+/(attention|cross)/output/kernel", 0),
    ShardingRule(r"\w+/block_\d+/(attention|cross)/output/bias", _WHOLE),
    ShardingRule(r"\w+/block_\d+/inner/(inner|gate)/(kernel|bias)", -1),
    ShardingRule(r"\w+/block_\d+/inner/outer/kernel", 0),
    ShardingRule(r"\w+/block_\d+/inner/outer/bias", _WHOLE),
    ShardingRule(r"\w+/block_\d+/\w+_residual/norm/(scale|bias)", _WHOLE),
    ShardingRule(r"\w+/norm/(scale|bias)", _WHOLE),
    ShardingRule(r"\w+/(position|relative)/table", _WHOLE),
    # The size of the vocabulary depends on the corpus and may not be divisible.
    ShardingRule(r"(source_embedding|target_embedding|embedding)/table", 0, optional=True),
    ShardingRule(r"decoder/output/(kernel|bias)", -1, optional=True),
    ShardingRule(r"decoder/output/project/(kernel|bias)", _WHOLE),
    # An adaptive softmax, whose first softmax has the tails beside the words of the shortlist.
    ShardingRule(r"\w*embedding/cluster_\d+/table", 0, optional=True),
    ShardingRule(r"\w*embedding/widen_\d+/kernel", _WHOLE),
    ShardingRule(r"decoder/output/(choose|words_\d+)/kernel", -1, optional=True),
    ShardingRule(r"decoder/output/narrow_\d+/kernel", _WHOLE),
    # Convolutions.
    ShardingRule(r"\w+/(enter|leave)/(kernel|bias|scale)", _WHOLE),
    ShardingRule(r"\w+/block_\d+/convolution/map/(kernel|bias|scale)", _WHOLE),
    ShardingRule(r"\w+/block_\d+/(query|context)/(kernel|bias|scale)", _WHOLE),
    ShardingRule(r"decoder/block_\d+/source/.+", _WHOLE),
    # Recurrences.
    ShardingRule(r"\w+/(ahead|back|stack)_\d+/.+", _WHOLE),
    ShardingRule(r"decoder/(attend|attend_past|combine|feedback|initial_\d+)/.+", _WHOLE),
    ShardingRule(r"decoder/feedback_scale", _WHOLE),
)


def rule_of(path: str) -> ShardingRule:
    """Returns the rule of a parameter; one without a rule is replicated, with a warning.

    Raises:
      LookupError: it matches several rules.
    """
    found = [rule for rule in RULES if re.fullmatch(rule.path, path)]
    if len(found) > 1:
        raise LookupError(f"{path} matches {len(found)} rules of seqjax/parallel/sharding.py")
    return found[0] if found else _replicated(path)


@functools.cache
def _replicated(path: str) -> ShardingRule:
    log.warning("%s matches no rule of seqjax/parallel/sharding.py: it is replicated", path)
    return ShardingRule(re.escape(path), _WHOLE)


def parameter_shardings(mesh: Mesh, params: Any) -> Any:
    """Returns the sharding of each parameter, given arrays or their shapes.

    Raises:
      UserError: the number of heads or feed-forward units is not divisible.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: _sharding(mesh, path_name(path), leaf.shape), params
    )


def shardings_like(mesh: Mesh, params: Any, tree: Any) -> Any:
    """Returns shardings of a tree that contains trees like the parameters.

    An array of the optimizer's state, such as a moment, has the sharding of the parameter whose
    path is the end of its path; all other arrays are replicated.
    """
    places = {
        path_name(path): (leaf.shape, _sharding(mesh, path_name(path), leaf.shape))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }

    def place(path, leaf):
        parts = path_name(path).split("/")
        for start in range(len(parts)):
            shape, sharding = places.get("/".join(parts[start:]), (None, None))
            if shape == leaf.shape:
                return sharding
        return NamedSharding(mesh, PartitionSpec())

    return jax.tree_util.tree_map_with_path(place, tree)


def placed(shapes: Any, shardings: Any) -> Any:
    """Returns shapes and types, as from `jax.eval_shape`, with their shardings."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        shapes,
        shardings,
    )


def path_name(path: tuple[Any, ...]) -> str:
    """Returns the path of an array in a tree, `decoder/block_0/inner/outer/kernel`."""
    names = (getattr(key, "key", getattr(key, "name", getattr(key, "idx", None))) for key in path)
    return "/".join(str(name) for name in names)


def _sharding(mesh: Mesh, path: str, shape: tuple[int, ...]) -> NamedSharding:
    parts: list[str | None] = [None] * len(shape)
    rule, shards = rule_of(path), mesh.shape["model"]
    if rule.dimension is not None and shards > 1:
        dimension = rule.dimension % len(shape)
        if shape[dimension] % shards == 0:
            parts[dimension] = "model"
        elif not rule.optional:
            raise UserError(
                f"parallel.model = {shards}: expected a divisor of {shape[dimension]}, a dimension"
                f" of {path}"
            )
    shards = mesh.shape["fsdp"]
    if len(shape) > 1 and shards > 1:
        # Vectors are replicated: gathering them would cost more than it saves.
        free = [i for i, part in enumerate(parts) if not part and shape[i] % shards == 0]
        if free:
            parts[max(free, key=lambda i: shape[i])] = "fsdp"
    return NamedSharding(mesh, PartitionSpec(*parts))

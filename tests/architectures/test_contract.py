import jax.numpy as jnp
import numpy as np

from seqjax.architectures.contract import Carry, reorder


def test_reorder_moves_what_belongs_to_a_hypothesis_and_nothing_else():
    moving = {
        "hidden": jnp.arange(2 * 3 * 4).reshape(2, 3, 4),
        "count": jnp.arange(6).reshape(2, 3),
    }
    fixed = {"keys": jnp.arange(2 * 5).reshape(2, 5)}
    parents = jnp.array([[2, 0, 0], [1, 1, 2]])
    carry = reorder(Carry(fixed, moving, jnp.int32(7)), parents)
    assert carry.moving["count"].tolist() == [[2, 0, 0], [4, 4, 5]]
    for row in range(2):
        for k in range(3):
            np.testing.assert_array_equal(
                carry.moving["hidden"][row, k], moving["hidden"][row, parents[row, k]]
            )
    np.testing.assert_array_equal(carry.fixed["keys"], fixed["keys"])
    assert int(carry.position) == 7

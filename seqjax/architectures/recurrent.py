"""Recurrent encoder and decoder stacks of Elman, LSTM or GRU layers.

Shape suffixes: B batch, S source, T target, K hypotheses, E width of inputs, H hidden units,
G gates, W width of the summary.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.architectures.contract import (
    BEGINNING,
    Carry,
    Memory,
    Place,
    for_all,
    last_of,
    refuse_segments,
    remember,
    resumed,
)
from seqjax.layers.attention import ATTENTIONS, PreparedMemory, sow_weights
from seqjax.layers.cudnn_lstm import run_cudnn
from seqjax.layers.dense import Dense
from seqjax.layers.dropout import Dropout
from seqjax.layers.past_attention import PastAttention
from seqjax.layers.recurrent import CELLS, RecurrentLayer, State, as_state, normalize

# The names in `implementation` of a stack -> the function that replaces the scan.
IMPLEMENTATIONS = {"scan": None, "cudnn": run_cudnn}


class _Stack(nn.Module):
    """The fields of `config.model.encoder` and `config.model.decoder`."""

    kind: str
    layers: int
    width: int
    dropout: float = 0.0
    input_dropout: float = -1.0
    cell_normalization: bool = False
    residual: bool = False
    variational: bool = False
    recurrent_dropout: float = 0.0
    forget_bias: float = 1.0
    implementation: str = "scan"
    dtype: jnp.dtype = jnp.float32

    def _layers(self, reverse: bool = False) -> list[RecurrentLayer]:
        return [
            RecurrentLayer(
                width,
                self.kind,
                reverse,
                self.cell_normalization,
                self.dtype,
                self.forget_bias,
                IMPLEMENTATIONS[self.implementation],
                self.recurrent_dropout,
            )
            for width in self._widths
        ]

    @property
    def _widths(self) -> list[int]:
        """The number of units of each layer."""
        return [self.width] * self.layers

    def _dropout(self, rate: float) -> Dropout:
        """Returns the dropout for whole sequences [B, T, H]."""
        return Dropout(rate, shared=(1,) if self.variational else ())

    @property
    def _input_rate(self) -> float:
        """The rate of the dropout of the inputs."""
        # A rate may be traced, the -1 that stands for another field is not.
        own = self.input_dropout
        return self.dropout if isinstance(own, float) and own < 0 else own

    def _add(self, layer: int, inputs: jax.Array, outputs: jax.Array) -> jax.Array:
        """Adds a layer's inputs to its outputs if the stack is residual (Wu et al., 2016)."""
        return inputs + outputs if self.residual and layer > 0 else outputs


class RecurrentEncoder(_Stack):
    """Recurrent layers over the whole source, in one or both directions (Schuster, 1997).

    Each layer reads the concatenated outputs of all directions of the layer below.

    Attributes:
      direction: 'forward', 'backward' or 'both'.
    """

    direction: str = "both"

    def setup(self):
        self.ahead = self._layers() if self.direction != "backward" else []
        self.back = self._layers(reverse=True) if self.direction != "forward" else []
        self.drop_input = self._dropout(self._input_rate)
        self.drop = self._dropout(self.dropout)

    def __call__(
        self, inputs_BxSxE: jax.Array, mask_BxS: jax.Array, deterministic: bool = True
    ) -> Memory:
        """Encodes vectors [B, S, E], whose mask is true at real positions.

        The summary is the last state of the top layer, concatenated over directions.
        """
        x_BxSxH, last = inputs_BxSxE, []
        for i in range(self.layers):
            dropped = (self.drop if i else self.drop_input)(x_BxSxH, deterministic)
            sides = [side[i] for side in (self.ahead, self.back) if side]
            both = [layer(dropped, mask_BxS, None, deterministic) for layer in sides]
            outputs, states = zip(*both, strict=True)
            x_BxSxH = self._add(i, x_BxSxH, _join(outputs))
            last.append(tuple(_join(parts) for parts in zip(*states, strict=True)))
        summary_BxW = last[-1][0].astype(self.dtype)
        return remember(x_BxSxH, mask_BxS, summary=summary_BxW, last=tuple(last))


class RecurrentDecoder(_Stack):
    """Recurrent layers over the target, with or without attention to the source.

    Here `e` is the input, the vector of a token, `h` the output of the stack, `s` the state of the
    top layer and `c` the context; logits are those of a head that reads the result:

        attend_first:  c_t = attend(s_(t-1)),  h_t = stack([e_t, c_t])    (Bahdanau et al., 2015)
        update_first:  h_t = stack(e_t),       c_t = attend(h_t)          (Luong et al., 2015)
        attentional:   a_t = tanh(W [h_t, c_t] + b),  logits from a_t     (Luong et al., 2015;
                       theirs has no b)
        deep:          logits from [h_t, c_t, e_t], without the maxout of Bahdanau et al.
        state:         logits from h_t                                    (Sutskever et al., 2014)
        input feeding: [e_t, a_(t-1)] in place of e_t                     (Luong et al., 2015)
        feed_summary:  [e_t, summary] in place of e_t, and in place of a
                       missing c_t in the readout                         (Cho et al., 2014)
        past:          p_t = attend(h_t) to the past_window outputs
                       before h_t, beside c_t in the readout              (Salton et al., 2017)

    Attributes:
      others: the fields of `config.model.decoder`.
    """

    attention: str = "none"
    attention_width: int = 0
    attention_order: str = "update_first"
    heads: int = 1
    input_feeding: bool = False
    feed_summary: bool = False
    readout: str = "attentional"
    bridge: str = "projection"
    past_attention: str = "none"
    past_window: int = 0
    last_width: int = 0

    @property
    def _widths(self) -> list[int]:
        return [self.width] * (self.layers - 1) + [self.last_width or self.width]

    def setup(self):
        top = self._widths[-1]
        self.stack = self._layers()
        self.drop_input = self._dropout(self._input_rate)
        self.drop = self._dropout(self.dropout)
        # For single positions; `_walk` decides which of them share a mask.
        self.drop_position = Dropout(self.dropout)
        if self.attention != "none":
            inner = self.attention_width or top
            kind = ATTENTIONS[self.attention]
            self.attend = kind(top, inner, self.heads, self.dtype)
        if self.past_attention != "none":
            self.attend_past = PastAttention(
                self.past_attention,
                top,
                self.past_window,
                self.attention_width or top,
                dtype=self.dtype,
            )
        if self._attends_first or self.input_feeding:
            gates = CELLS[self.kind].gates * self._widths[0]
            self.feedback = Dense(gates, self.dtype, bias=False)
            if self.cell_normalization:
                init = nn.initializers.ones
                self.feedback_scale = self.param("feedback_scale", init, (gates,), jnp.float32)
        if self.readout == "attentional":
            self.combine = Dense(top, self.dtype)
        if self.bridge == "projection":
            self.initial = [Dense(width, self.dtype) for width in self._state_widths]

    def __call__(
        self,
        memory: Memory,
        inputs_BxTxE: jax.Array,
        deterministic: bool = True,
        place: Place = BEGINNING,
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Maps vectors [B, T, E] to vectors [B, T, R], and returns the carry for those that follow.

        A vector depends only on the carry and on those up to its position.
        """
        refuse_segments(place)
        return self._read(
            inputs_BxTxE,
            resumed(place, self.carry(memory)),
            self._prepare(memory),
            memory.summary,
            None,
            deterministic,
        )

    def carry(self, memory: Memory) -> dict[str, Any]:
        """Returns the carry of the parallel view before the first token, leaves [B, 1, ...]."""
        return self._past(memory, hypotheses=1)

    def start(self, memory: Memory, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses before their first token."""
        past = self._past(memory, hypotheses)
        fixed = {"prepared": self._prepare(memory), "summary": memory.summary}
        position_B = jnp.zeros(memory.mask.shape[0], jnp.int32)
        return Carry(fixed=fixed, moving=past, position=position_B)

    def step(self, carry: Carry, embedded_BxKxE: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads a vector for each hypothesis; returns the next carry and vectors [B, K, R]."""
        summary = carry.fixed["summary"]
        inputs_BxKxG = self.stack[0].project(self._inputs(embedded_BxKxE, summary))
        past, found = self._advance(carry.moving, inputs_BxKxG, carry.fixed["prepared"], True)
        if self.past_attention != "none":
            batch, hypotheses, width = found["output"].shape
            flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), carry.moving["own"])
            context, own = self.attend_past(found["output"].reshape(-1, 1, width), flat)
            found["past_context"] = context.reshape(batch, hypotheses, width)
            past["own"] = jax.tree.map(lambda x: x.reshape(batch, hypotheses, *x.shape[1:]), own)
        if "attentional" not in found:
            found["attentional"] = self._combine(self.drop, found, True)
        read_BxKxR = self._read_out(found, embedded_BxKxE, summary)
        return carry.replace(moving=past, position=carry.position + 1), read_BxKxR

    def prefill(
        self, carry: Carry, inputs_BxPxE: jax.Array, lengths_B: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Reads prompts, layer by layer if possible.

        Returns the next carry and the last vectors [B, 1, R].
        """
        hypotheses = jax.tree.leaves(carry.moving)[0].shape[1]
        read_BxPxR, past = self._read(
            inputs_BxPxE,
            jax.tree.map(lambda leaf: leaf[:, :1], carry.moving),
            carry.fixed["prepared"],
            carry.fixed["summary"],
            jnp.arange(inputs_BxPxE.shape[1]) < lengths_B[:, None],
            True,
        )
        carry = carry.replace(
            moving=jax.tree.map(lambda leaf: for_all(leaf, hypotheses), past),
            position=carry.position + lengths_B,
        )
        return carry, last_of(read_BxPxR, lengths_B)

    def _read(self, inputs_BxTxE, past, prepared, summary_BxW, mask_BxT, deterministic):
        """Returns the vectors [B, T, R] of the readout, and the state after the last real position.

        Real positions come first and have a true mask; None has only real ones.
        """
        embedded_BxTxE = self.drop_input(inputs_BxTxE, deterministic)
        inputs_BxTxI = self._inputs(embedded_BxTxE, summary_BxW)
        run = self._walk if self._depends_on_itself else self._run
        own = past.get("own")
        past = {name: part for name, part in past.items() if name != "own"}
        found, past = run(inputs_BxTxI, past, prepared, mask_BxT, deterministic)
        if self.past_attention != "none":
            own = jax.tree.map(lambda x: x[:, 0], own)
            lengths_B = None if mask_BxT is None else jnp.sum(mask_BxT, axis=1)
            found["past_context"], own = self.attend_past(found["output"], own, lengths_B)
            past["own"] = jax.tree.map(lambda x: x[:, None], own)
        if self.attention != "none":
            sow_weights(self, found["weights"])
        if "attentional" not in found:
            found["attentional"] = self._combine(self.drop, found, deterministic)
        return self._read_out(found, embedded_BxTxE, summary_BxW), past

    @property
    def _attends_first(self) -> bool:
        return self.attention != "none" and self.attention_order == "attend_first"

    @property
    def _looks_back(self) -> bool:
        return self.attention != "none" and ATTENTIONS[self.attention].looks_back

    @property
    def _depends_on_itself(self) -> bool:
        """Whether a position depends on more than the layer states of the previous one."""
        return self._attends_first or self.input_feeding or self._looks_back

    @property
    def _state_widths(self) -> list[int]:
        """The size of each array of the states of all layers."""
        return [width for width in self._widths for _ in range(CELLS[self.kind].states)]

    def _prepare(self, memory: Memory) -> PreparedMemory | None:
        if self.attention == "none":
            return None
        return self.attend.prepare(memory.states, memory.values, memory.mask)

    def _bridge(self, memory: Memory) -> tuple[State, ...]:
        """Returns the states [B, H] of each layer before the first position."""
        if self.bridge == "last":
            return memory.last
        each = CELLS[self.kind].states
        rows = memory.summary.shape[0]
        flat = [jnp.zeros((rows, width), self.dtype) for width in self._state_widths]
        if self.bridge == "projection":
            flat = [jnp.tanh(initial(memory.summary)) for initial in self.initial]
        return tuple(as_state(flat[i : i + each]) for i in range(0, len(flat), each))

    def _inputs(self, embedded_BxTxE: jax.Array, summary_BxW: jax.Array) -> jax.Array:
        """Returns the part of the first layer's inputs that is known before any position."""
        if not self.feed_summary:
            return embedded_BxTxE
        return _join((embedded_BxTxE, _repeat(summary_BxW, embedded_BxTxE)))

    def _past(self, memory: Memory, hypotheses: int) -> dict[str, Any]:
        """Returns the state before the first position, leaves [B, K, ...]."""
        rows, length = memory.mask.shape
        states = self._bridge(memory)
        past = {"states": jax.tree.map(lambda x: _tile(x, hypotheses), states)}
        if self.input_feeding:
            past["fed"] = jnp.zeros((rows, hypotheses, self._widths[-1]), self.dtype)
        if self._looks_back:
            past["weights"] = jnp.zeros((rows, hypotheses, length), self.dtype)
        if self.past_attention != "none":
            empty = self.attend_past.empty(rows)
            past["own"] = jax.tree.map(lambda x: jnp.repeat(x[:, None], hypotheses, axis=1), empty)
        return past

    def _run(self, inputs_BxTxI, past, prepared, mask_BxT, deterministic):
        """Computes all positions layer by layer; returns what `_advance` does, in other order."""
        if mask_BxT is None:
            mask_BxT = jnp.ones(inputs_BxTxI.shape[:2], bool)
        x_BxTxH, last = inputs_BxTxI, []
        for i, layer in enumerate(self.stack):
            dropped = self.drop(x_BxTxH, deterministic) if i else x_BxTxH
            state = tuple(part[:, 0] for part in past["states"][i])
            outputs, state = layer(dropped, mask_BxT, state, deterministic)
            last.append(tuple(part[:, None] for part in state))
            x_BxTxH = self._add(i, x_BxTxH, outputs)
        found = {"output": x_BxTxH}
        if self.attention != "none":
            found["context"], found["weights"] = self.attend(x_BxTxH, prepared)
        return found, {"states": tuple(last)}

    def _walk(self, inputs_BxTxI, past, prepared, mask_BxT, deterministic):
        """Computes position by position, like a search with one hypothesis.

        The gradients of the matrices are summed position by position. Collecting them, as in
        `RecurrentLayer`, gained nothing with batches of 128 rows, whose products are large.
        """
        inputs_TxBx1xG = self.stack[0].project(inputs_BxTxI).swapaxes(0, 1)[:, :, None]
        mask_TxB = None if mask_BxT is None else mask_BxT.T
        matrices = [layer.dropped(deterministic) for layer in self.stack]

        def advance(module, past, inputs_and_mask):
            inputs_Bx1xG, mask_B = inputs_and_mask
            new, found = module._advance(past, inputs_Bx1xG, prepared, deterministic, matrices)
            if mask_B is None:
                return new, found

            def keep(new, old):
                return jnp.where(mask_B.reshape((-1,) + (1,) * (new.ndim - 1)), new, old)

            return jax.tree.map(keep, new, past), found

        walk = nn.scan(
            advance,
            variable_broadcast="params",
            # One key for all positions gives them the same mask.
            split_rngs={"params": False, "dropout": not self.variational},
        )
        past, found = walk(self, past, (inputs_TxBx1xG, mask_TxB))
        weights_TxBxHx1xS = found.pop("weights", None)
        found = {name: x.squeeze(2).swapaxes(0, 1) for name, x in found.items()}
        if weights_TxBxHx1xS is not None:
            found["weights"] = weights_TxBxHx1xS.squeeze(3).transpose(1, 2, 0, 3)
        return found, past

    def _advance(self, past, inputs_BxKxG, prepared, deterministic, matrices=None):
        """Computes one position of K hypotheses, given the products of the first layer's inputs.

        Returns the state for the next position and a dictionary with `output` [B, K, H] and, with
        attention, `context` and `weights` [B, heads, K, S].
        """
        states, found, fed = past["states"], {}, []
        before = past["weights"][:, None] if self._looks_back else None
        if self._attends_first:
            found["context"], found["weights"] = self.attend(
                states[-1][0].astype(self.dtype), prepared, before
            )
            fed.append(found["context"])
        if self.input_feeding:
            fed.append(past["fed"])
        if fed:
            product_BxKxG = self.feedback(_join(fed))
            if self.cell_normalization:
                # Normalized separately, like the two products of the layer.
                product_BxKxG = normalize(product_BxKxG, self.feedback_scale, self.kind)
            inputs_BxKxG = inputs_BxKxG + product_BxKxG

        x_BxKxH, new = None, []
        for i, layer in enumerate(self.stack):
            if i:
                dropped = self.drop_position(x_BxKxH, deterministic)
                inputs_BxKxG = layer.project(dropped)
            new.append(layer.advance(inputs_BxKxG, states[i], matrices and matrices[i]))
            x_BxKxH = self._add(i, x_BxKxH, new[i][0].astype(self.dtype))
        found["output"] = x_BxKxH
        if self.attention != "none" and not self._attends_first:
            found["context"], found["weights"] = self.attend(x_BxKxH, prepared, before)

        past = {"states": tuple(new)}
        if self.input_feeding:
            found["attentional"] = self._combine(self.drop_position, found, deterministic)
            past["fed"] = found["attentional"]
        if self._looks_back:
            past["weights"] = found["weights"][:, 0]
        return past, found

    def _combine(self, drop, found, deterministic) -> jax.Array | None:
        if self.readout != "attentional":
            return None
        names = ("output", "context", "past_context")
        read = [found[name] for name in names if name in found]
        return jnp.tanh(self.combine(drop(_join(read), deterministic)))

    def _read_out(self, found, embedded_BxTxE, summary_BxW) -> jax.Array:
        """Returns the vectors [B, T, R] that a head reads."""
        if self.readout == "attentional":
            return found["attentional"]
        if self.readout == "state":
            return found["output"]
        parts = [found["output"], embedded_BxTxE]
        if "context" in found:
            parts.insert(1, found["context"])
        elif self.feed_summary:
            parts.insert(1, _repeat(summary_BxW, embedded_BxTxE))
        if "past_context" in found:
            parts.insert(1, found["past_context"])
        return _join(parts)


def _join(parts) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _tile(x_BxH: jax.Array, hypotheses: int) -> jax.Array:
    return jnp.broadcast_to(x_BxH[:, None], (x_BxH.shape[0], hypotheses, x_BxH.shape[1]))


def _repeat(x_BxW: jax.Array, like_BxTxE: jax.Array) -> jax.Array:
    """Repeats the vector of a sentence for each of its positions."""
    return _tile(x_BxW, like_BxTxE.shape[1]).astype(like_BxTxE.dtype)

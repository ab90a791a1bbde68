"""Every field under `model`, its default, and what it means: see `seqjax.config`."""

import ml_collections

from seqjax.values import Section


def model_section() -> ml_collections.ConfigDict:
    """What both sides of the model share."""
    model = Section()
    # Source and target share one embedding table, which needs tokenizer.joint = True.
    model.share_embeddings = True
    # The output projection is the transposed target embedding.
    model.tie_output = True
    # Initial embeddings: 'normal' is N(0, 1/width); 'xavier' (Glorot and Bengio, 2010) is far
    # smaller for a large vocabulary, so that they change faster.
    model.embedding_initializer = "normal"
    # Multiply token vectors by the root of their width (Vaswani et al., 2017), which then have unit
    # scale and change fast.
    model.scale_embeddings = True
    # Draw all parameters uniformly from -initial_range to initial_range (Zaremba et al., 2014);
    # 0 draws each as its layer asks for.
    model.initial_range = 0.0
    # Share of the tokens of a vocabulary that an update cannot read: their vectors are zero
    # wherever they occur (Gal and Ghahramani, 2016; Merity et al., 2018).
    model.embedding_dropout = 0.0
    # Adaptive softmax (Grave et al., 2017): token ids, such as '2000,10000', at which a cluster of
    # frequent words ends and one of rarer words begins; '' is the plain softmax.
    model.adaptive_cutoffs = ""
    # Adaptive softmax: the vectors of each cluster are narrower by this factor.
    model.adaptive_factor = 4
    # Adaptive softmax: divide the token vectors that the decoder reads in the same way (Baevski and
    # Auli, 2019). With tie_output both share their vectors and projections.
    model.adaptive_inputs = False
    # Type of the activations: 'float32' or 'bfloat16'. Parameters, softmax, normalization,
    # recurrent states and the loss stay float32.
    model.dtype = "float32"
    model.encoder = _encoder()
    model.decoder = _decoder()
    return model


def _stack() -> ml_collections.ConfigDict:
    """A side of the model; `*` is `encoder` or `decoder`. Some fields are for one family only."""
    stack = Section()
    # Family: 'elman', 'lstm', 'gru', 'convolutional' or 'transformer'. The fields of the other
    # families have no effect. An encoder may be 'none': the decoder reads the source itself, before
    # the target (decoder-only: Liu et al., 2018), which needs tokenizer.joint = True.
    stack.kind = "transformer"
    # Number of layers, or blocks.
    stack.layers = 3
    # Size of the hidden states; of each direction in a recurrent encoder.
    stack.width = 256
    # Size of the token vectors; 0 takes the width, as every Transformer does.
    stack.embedding_width = 0
    # Dropout of the embeddings and between layers; also of the attentional vector before the
    # output, and of what leaves a convolutional stack.
    stack.dropout = 0.1
    _add_transformer_fields(stack)
    _add_convolutional_fields(stack)
    _add_recurrent_fields(stack)
    return stack


def _add_transformer_fields(stack: ml_collections.ConfigDict) -> None:
    """Adds the fields of Transformers, some of which convolutions have as well."""
    # Transformer: attention heads, a divisor of the width. Also those of attention = 'multi_head'
    # in other decoders.
    stack.heads = 4
    # Transformer: heads of keys and values, each shared by a group of query heads (Ainslie et al.,
    # 2023); 0 takes as many as `heads`.
    stack.key_value_heads = 0
    # Transformer: self-attention reaches this many positions before and after its own; 0 reaches
    # all.
    stack.window = 0
    # Transformer: inner size of the feed-forward layer.
    stack.feed_forward = 1024
    # Transformer: activation of the feed-forward layer: 'relu', 'gelu' (Hendrycks and Gimpel,
    # 2016), or the gated 'swiglu' and 'geglu' (Shazeer, 2020).
    stack.activation = "relu"
    # Transformer: normalize 'pre' (before each sublayer) or 'post' (after it).
    stack.normalization = "pre"
    # Transformer: 'layer' normalization (Ba et al., 2016) or 'rms' (Zhang and Sennrich, 2019).
    stack.norm = "layer"
    # Transformer: dropout of the attention weights.
    stack.attention_dropout = 0.0
    # Transformer: dropout inside the feed-forward layer.
    stack.activation_dropout = 0.0
    # Transformer and convolutional: positions are 'sinusoidal', 'learned' or 'none'; in a
    # Transformer also 'relative' (Raffel et al., 2020), 'rotary' (Su et al., 2021) or 'alibi'
    # (Press et al., 2022).
    stack.positions = "sinusoidal"
    # Transformer and convolutional: number of learned positions.
    stack.max_positions = 512
    # Transformer and convolutional: keep only the input of each layer for the backward pass and
    # compute the rest again. Less memory, more work, the same results.
    stack.rematerialize = False
    # Transformer, and convolutional without dilation: compile one layer and loop over it, which
    # keeps compilation short in deep models. Dropout then draws other random numbers.
    stack.scan_layers = False


def _add_convolutional_fields(stack: ml_collections.ConfigDict) -> None:
    """Adds the fields of convolutions alone."""
    # Convolutional: number of positions that a convolution sees.
    stack.kernel = 3
    # Convolutional: largest dilation. Layers have dilation 1, 2, 4, ... up to it, then again
    # (ByteNet: Kalchbrenner et al., 2016).
    stack.max_dilation = 1


def _add_recurrent_fields(stack: ml_collections.ConfigDict) -> None:
    """Adds the fields of recurrences alone."""
    # Recurrent: layer normalization of the products in the cells.
    stack.cell_normalization = False
    # Recurrent: dropout of the token vectors; -1 takes `dropout`.
    stack.input_dropout = -1.0
    # LSTM: initial bias of the forget gates; 1 lets a new model remember (Jozefowicz et al., 2015).
    stack.forget_bias = 1.0
    # Recurrent: add the input of each layer to its output, from the second layer on.
    stack.residual = False
    # Recurrent: one dropout mask for all positions of a sentence (Gal and Ghahramani, 2016).
    stack.variational = False
    # Recurrent: share of the entries of the recurrent matrices that are zero in an update
    # (DropConnect: Merity et al., 2018).
    stack.recurrent_dropout = 0.0
    # Recurrent: 'scan', or 'cudnn' for an LSTM in float32 on one NVIDIA GPU. The parameters are the
    # same, so a trained model may change it.
    stack.implementation = "scan"


def _encoder() -> ml_collections.ConfigDict:
    """The encoder: the fields of a stack and these."""
    encoder = _stack()
    # Recurrent: read the source 'forward', 'backward' (Sutskever et al., 2014) or in 'both'
    # directions.
    encoder.direction = "both"
    return encoder


def _decoder() -> ml_collections.ConfigDict:
    """The decoder: the fields of a stack and these."""
    decoder = _stack()
    # Attention to the source. A Transformer has 'multi_head'. Recurrent and convolutional decoders
    # also have 'additive', 'additive_normalized', 'dot', 'scaled_dot', 'general' and 'concat';
    # recurrent ones also 'location' (10 filters of 15 positions) and 'none'.
    decoder.attention = "multi_head"
    # Inner size of attention 'additive', 'additive_normalized', 'concat' and 'location'; 0 takes
    # the size of the queries (the width; the embedding width of a convolutional decoder).
    decoder.attention_width = 0
    # Recurrent: 'attend_first', with the previous state (Bahdanau et al., 2015), or 'update_first',
    # then attend with the new state (Luong et al., 2015).
    decoder.attention_order = "update_first"
    # Recurrent: feed the attentional vector to the next position (Luong et al., 2015).
    decoder.input_feeding = False
    # Recurrent: feed the summary of the source to every position (Cho et al., 2014).
    decoder.feed_summary = False
    # Recurrent: what the output projection reads: 'attentional' tanh(W [state, context]), 'deep'
    # [state, context, token vector], or the 'state' alone.
    decoder.readout = "attentional"
    # Recurrent: initial states: 'projection' tanh(W summary) of the source, the 'last' states of a
    # recurrent encoder of the same form, or 'zeros'.
    decoder.bridge = "projection"
    # Dropout of the vectors that the output projection reads, besides what `dropout` does.
    decoder.output_dropout = 0.0
    # Recurrent: number of units of the last layer; 0 takes the width.
    decoder.last_width = 0
    # Recurrent: attention of each output to those before it: 'none', or a kind of attention without
    # 'location' and 'multi_head' (Salton et al., 2017).
    decoder.past_attention = "none"
    # Recurrent: how many of the outputs before it are attended to.
    decoder.past_window = 32
    # Transformer without an encoder (model.encoder.kind = 'none'): the positions of the source see
    # each other in both directions (prefix language model: Raffel et al., 2020).
    decoder.prefix_lm = False
    return decoder

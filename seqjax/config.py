"""Every field of an experiment, its default, and what it may hold.

A config is one `ml_collections.ConfigDict`. Files under `configs/` start from
`default_config()` and change what their run needs; the command line overrides
single fields (`--config.model.encoder.layers=4`).

Durations (`train.duration`, `schedule.warmup`, `*.every`) are strings: a bare
number or `'500 steps'` counts updates, `'2.5 epochs'` passes over the training
corpus, `'4M tokens'` target tokens, `'30 minutes'` time, and `'10%'` a share of the
whole training. `'0'` means never (`seqjax.duration`).

`seqjax.fields` has the fields by their paths and saves them, `seqjax.config_files`
runs the files, `seqjax.overrides` reads the command line, and `seqjax.validation`
checks what the values may be.
"""

import ml_collections

from seqjax.values import Section


def default_config() -> ml_collections.ConfigDict:
    """Returns every field with its default: embedded translation task, small Transformer."""
    config = Section()
    # What a batch means: 'text_to_text'.
    config.task = "text_to_text"
    # Seed of initialization and dropout, and of the batches where `batching.seed` is -1.
    config.seed = 0
    config.data = _data()
    config.tokenizer = _tokenizer()
    config.batching = _batching()
    config.model = _model()
    config.loss = _loss()
    config.optimizer = _optimizer()
    config.schedule = _schedule()
    config.train = _train()
    config.evaluation = _evaluation()
    config.decode = _decode()
    config.checkpoint = _checkpoint()
    config.parallel = _parallel()
    config.reporting = _reporting()
    return config.lock()


def _data() -> ml_collections.ConfigDict:
    data = Section()
    # Source of sentence pairs: 'synthetic:translation', 'text', 'tsv', 'jsonl', 'pattern' or
    # 'tfds:NAME'.
    data.corpus = "synthetic:translation"
    # Folder of the corpus, also in a bucket, gs://... or s3://..., whose files are held in memory;
    # '~' and '$VARIABLES' are expanded.
    data.directory = ""
    # Source language: a file suffix, column, field, group or feature, whichever the corpus has.
    data.source = "en"
    # Target language, likewise.
    data.target = "de"
    # File of a split: 'text' fills in {split} and {language}, the others {split}; without {split}
    # if data.split_by divides one file.
    data.files = "{split}.{language}"
    # Regular expression for each whole line of corpus 'pattern', whose named groups are the sides:
    # 'IN: (?P<command>.*) OUT: (?P<actions>.*)' with data.source='command', data.target='actions'.
    data.pattern = ""
    # Name of the training split inside the corpus.
    data.train = "train"
    # Name of the split that is evaluated while training.
    data.validation = "validation"
    # Name of the split that `evaluate` takes by default; `--split` may name any other.
    data.test = "test"
    # Divide one file (data.files without {split}) into train, validation and test: by 'line', or by
    # 'source', so that pairs with the same source fall into the same split. '': a file for each.
    data.split_by = ""
    # Seed of that division.
    data.split_seed = 0
    # Share of the pairs that becomes the validation split.
    data.validation_share = 0.05
    # Share of the pairs that becomes the test split.
    data.test_share = 0.05
    # Number of examples of the synthetic training split.
    data.synthetic_size = 100_000
    # Use only the first so many training examples; -1 takes all.
    data.limit = -1
    # Longest source in tokens, end-of-sentence included.
    data.max_source_length = 256
    # Longest target in tokens, end-of-sentence included.
    data.max_target_length = 256
    # Training pairs over a limit: 'drop' or 'cut'. Evaluation never drops, it cuts sources.
    data.over_length = "drop"
    # Training pairs with an empty side: 'drop' or 'keep'.
    data.empty = "drop"
    # Training pairs whose longer side has more than so many times the tokens of the shorter one are
    # dropped; 0 keeps them.
    data.max_length_ratio = 0.0
    # Drop training pairs that occurred before, equal on both sides.
    data.drop_duplicates = False
    # Drop training pairs whose source occurs in the validation or test split.
    data.drop_overlap = False
    # Drop training pairs whose sides are equal.
    data.drop_identical = False
    # Folder of the tokenized corpora, on this machine.
    data.cache = "~/.cache/seqjax"
    return data


def _tokenizer() -> ml_collections.ConfigDict:
    tokenizer = Section()
    # 'unigram' or 'bpe' (SentencePiece), 'word', 'character', 'byte', 'space' (what stands between
    # spaces: phonemes, actions, texts that are tokenized already) or 'decomposed' (characters, an
    # accented one as letter and accent, a Hangul syllable as its letters).
    tokenizer.kind = "bpe"
    # Kind of the target, where it differs; '': the same. Needs joint = False.
    tokenizer.target_kind = ""
    # Largest number of entries, special ones included (all kinds but byte).
    tokenizer.vocabulary = 8000
    # One vocabulary for both sides.
    tokenizer.joint = True
    # Symbols seen less often are unknown (word, character, space, decomposed).
    tokenizer.minimum_frequency = 1
    # Lower-case both sides before anything else.
    tokenizer.lowercase = False
    # Unicode normalization of both sides: 'none', 'NFC' (an accented letter is the same text,
    # whether one character or two), or 'NFKC' (so are ligatures, full-width forms, ...).
    tokenizer.normalization = "none"
    # Subword regularization: BPE-dropout probability, or unigram smoothing alpha; 0 is off.
    tokenizer.sampling = 0.0
    return tokenizer


def _batching() -> ml_collections.ConfigDict:
    batching = Section()
    # Seed of the order of batches and of subword sampling; -1 takes `seed`.
    batching.seed = -1
    # What bounds a batch: 'tokens' (padded tokens of the longer side) or 'sentences'.
    batching.kind = "tokens"
    # Padded tokens of the longer side in a batch, all devices together.
    batching.tokens = 4096
    # Sentence pairs in a batch, all devices together.
    batching.sentences = 128
    # At most so many batch shapes, each compiled once (1 to 12).
    batching.shapes = 6
    # Lengths are padded to a multiple of this.
    batching.multiple = 4
    return batching


def _model() -> ml_collections.ConfigDict:
    model = Section()
    # Source and target share one embedding table (needs a joint tokenizer).
    model.share_embeddings = True
    # The output projection is the transposed target embedding.
    model.tie_output = True
    # How embeddings start: 'normal' N(0, 1/width), or 'xavier' (Glorot and Bengio, 2010), which is
    # far smaller for a large vocabulary and learns them faster.
    model.embedding_initializer = "normal"
    # Numbers that activations are computed in: 'float32' or 'bfloat16'; parameters,
    # softmax, normalization, states of recurrent cells and loss stay float32.
    model.dtype = "float32"
    model.encoder = _encoder()
    model.decoder = _decoder()
    return model


def _stack() -> ml_collections.ConfigDict:
    stack = Section()
    # Family: 'elman', 'lstm', 'gru', 'convolutional' or 'transformer'. What one family has of its
    # own means nothing to the others.
    stack.kind = "transformer"
    # Layers, or blocks, of this side.
    stack.layers = 3
    # Size of hidden states; in a recurrent encoder, of each direction.
    stack.width = 256
    # Size of token vectors; 0: the width. A Transformer's are as wide as it is.
    stack.embedding_width = 0
    # Dropout of embeddings and between layers; also of what readout = 'attentional' maps, and of
    # what leaves a convolutional stack.
    stack.dropout = 0.1

    # Transformer: attention heads, which divide the width; also those of attention='multi_head'.
    stack.heads = 4
    # Transformer: heads that keys and values have, shared by groups of query heads (Ainslie et al.,
    # 2023); 0: as many as the queries have.
    stack.key_value_heads = 0
    # Transformer: positions before and after its own that one reads in its stack; 0: all.
    stack.window = 0
    # Transformer: inner size of the feed-forward layer.
    stack.feed_forward = 1024
    # Transformer: 'relu', 'gelu' x Phi(x) (Hendrycks and Gimpel, 2016), or gated (Shazeer, 2020):
    # 'swiglu', 'geglu'.
    stack.activation = "relu"
    # Transformer: normalization 'pre' (before each sublayer) or 'post' (after it).
    stack.normalization = "pre"
    # Transformer: 'layer' (Ba et al., 2016) or 'rms' (Zhang and Sennrich, 2019).
    stack.norm = "layer"
    # Transformer: dropout of attention weights.
    stack.attention_dropout = 0.0
    # Transformer: dropout inside the feed-forward layer.
    stack.activation_dropout = 0.0
    # Transformer and convolutional: 'sinusoidal', 'learned' or 'none'; Transformer also 'relative'
    # (Raffel et al., 2020), 'rotary' (Su et al., 2021), 'alibi' (Press et al., 2022).
    stack.positions = "sinusoidal"
    # Transformer and convolutional: table size of learned positions.
    stack.max_positions = 512
    # Transformer and convolutional: keep only what goes into each layer for the backward pass and
    # compute the rest again: less memory, more work, the same results.
    stack.rematerialize = False
    # Transformer and convolutional without dilation: compile one layer and loop over it, so that
    # compiling takes little longer the more layers there are; with dropout the random numbers are
    # others.
    stack.scan_layers = False

    # Convolutional: positions that one convolution sees.
    stack.kernel = 3
    # Convolutional: largest distance between them; layers have 1, 2, 4, ... up to it, then again
    # (ByteNet: Kalchbrenner et al., 2016).
    stack.max_dilation = 1

    # Recurrent: layer normalization of the products in the cells.
    stack.cell_normalization = False
    # LSTM: initial bias of the forget gates; 1 lets a new model remember (Jozefowicz et al., 2015).
    stack.forget_bias = 1.0
    # Recurrent: add each layer's input to its output, from the second layer on.
    stack.residual = False
    # Recurrent: the same dropout at all positions of a sentence (Gal and Ghahramani, 2016; theirs
    # falls on the recurrent connections, too).
    stack.variational = False
    # Recurrent: what runs a layer over a sequence, 'scan', or for an LSTM in float32 on one NVIDIA
    # GPU 'cudnn'. The parameters are the same: a trained model may change it.
    stack.implementation = "scan"
    return stack


def _encoder() -> ml_collections.ConfigDict:
    encoder = _stack()
    # Recurrent: 'forward', 'backward' (the reversed source of Sutskever et al., 2014) or 'both'.
    encoder.direction = "both"
    return encoder


def _decoder() -> ml_collections.ConfigDict:
    decoder = _stack()
    # How the source is read: 'multi_head', the only one of a Transformer; recurrent and
    # convolutional also 'additive', 'additive_normalized', 'dot', 'scaled_dot', 'general',
    # 'concat'; recurrent also 'location' (10 filters of 15 positions, enough for text) and 'none'.
    decoder.attention = "multi_head"
    # Inner size of attention 'additive', 'additive_normalized', 'concat' and 'location'; 0: that of
    # the queries, which is the width, of a convolutional decoder the embedding width.
    decoder.attention_width = 0
    # Recurrent: 'attend_first' with the state so far (Bahdanau et al., 2015), or 'update_first' and
    # attend with the new state (Luong et al., 2015).
    decoder.attention_order = "update_first"
    # Recurrent: feed the attentional vector to the next position (Luong et al., 2015).
    decoder.input_feeding = False
    # Recurrent: feed the summary of the source to every position (Cho et al., 2014).
    decoder.feed_summary = False
    # Recurrent: what is mapped to the vocabulary: 'attentional' tanh(W [state, context]), 'deep'
    # [state, context, token vector], or the 'state' alone.
    decoder.readout = "attentional"
    # Recurrent: where states start: 'projection' tanh(W summary) of the source, 'last' states of a
    # recurrent encoder of the same form, or 'zeros'.
    decoder.bridge = "projection"
    return decoder


def _loss() -> ml_collections.ConfigDict:
    loss = Section()
    # Share of probability that label smoothing spreads evenly over the vocabulary.
    loss.label_smoothing = 0.1
    return loss


def _optimizer() -> ml_collections.ConfigDict:
    optimizer = Section()
    # 'adam', 'adamw', 'adafactor' or 'sgd'.
    optimizer.kind = "adam"
    # Peak learning rate, reached at the end of warm-up.
    optimizer.learning_rate = 1e-3
    # Adam's decay of the first moment.
    optimizer.beta1 = 0.9
    # Adam's decay of the second moment.
    optimizer.beta2 = 0.98
    # Added to Adam's root of the second moment.
    optimizer.epsilon = 1e-9
    # Momentum of sgd.
    optimizer.momentum = 0.9
    # Decoupled weight decay of matrices (adamw, adafactor, sgd), of a weight-normalized one's
    # lengths; biases and norms are left alone.
    optimizer.weight_decay = 0.0
    # Largest global gradient norm; 0 is off.
    optimizer.clip = 1.0
    # Each batch is split into so many parts whose gradients are added: less memory, the same step.
    optimizer.accumulate = 1
    # Decay of a moving average of the parameters, which is then what is evaluated and used, such as
    # 0.999; 0 keeps none.
    optimizer.moving_average = 0.0
    return optimizer


def _schedule() -> ml_collections.ConfigDict:
    schedule = Section()
    # After warm-up: 'constant', 'inverse_sqrt', 'cosine' or 'linear'.
    schedule.kind = "inverse_sqrt"
    # Linear warm-up from zero (a duration).
    schedule.warmup = "10%"
    # Learning rate at the end of 'cosine' and 'linear', as a share of the peak.
    schedule.final = 0.0
    return schedule


def _train() -> ml_collections.ConfigDict:
    train = Section()
    # Length of training (a duration, but not a share).
    train.duration = "2000 steps"
    # Early stopping: name of a validation metric ('bleu', 'loss', ...); '' is off.
    train.stop_metric = ""
    # Evaluations in a row without a better value before training stops.
    train.patience = 5
    return train


def _evaluation() -> ml_collections.ConfigDict:
    evaluation = Section()
    # How often the validation split is evaluated while training (a duration).
    evaluation.every = "25%"
    # Translate the validation split and score it too; otherwise loss, perplexity and accuracy only.
    evaluation.translate = True
    # Evaluate only the first so many examples while training; -1 takes all.
    evaluation.limit = -1
    # Lower-case hypotheses and references before scoring.
    evaluation.lowercase = False
    # sacreBLEU's tokenizer: '13a', 'intl', 'char', 'zh', 'none', ...
    evaluation.tokenize = "13a"
    # Metrics of translations, among 'bleu', 'chrf', 'ter', 'exact_match', 'error_rate' (edits of
    # what stands between spaces).
    evaluation.metrics = ("bleu", "chrf", "ter", "exact_match")
    return evaluation


def _decode() -> ml_collections.ConfigDict:
    decode = Section()
    # Hypotheses kept alive; 1 is greedy search.
    decode.beam_size = 4
    # A hypothesis of n tokens scores its log probability over 'gnmt' ((5+n)/6)^a, 'plain' n^a,
    # or 'none' 1.
    decode.length_normalization = "gnmt"
    # The exponent a.
    decode.length_penalty = 0.6
    # A search ends when so many times beam_size hypotheses have finished (Kasai et al., 2022); 0:
    # when no live one can win any more, which is exact and slower.
    decode.patience = 1.0
    # Shortest output in tokens, end-of-sentence not counted.
    decode.min_length = 0
    # Whether outputs may hold the unknown token, '<unk>' in text; if not, the best known is taken.
    decode.unknown = False
    # Longest output: so many times the source's tokens,
    decode.max_length_ratio = 2.0
    # plus so many, end-of-sentence included.
    decode.max_length_extra = 10
    # Padded tokens in a batch of an evaluation: of the sources while searching, of the longer side
    # for the loss.
    decode.tokens = 4096
    # At most so many batch shapes while decoding, each compiled once.
    decode.shapes = 4
    # Parameters to use: 'best', 'latest', or a step number.
    decode.checkpoint = "best"
    # Average the parameters of so many checkpoints, the chosen one and those before it.
    decode.average = 1
    return decode


def _checkpoint() -> ml_collections.ConfigDict:
    checkpoint = Section()
    # How often the state is saved (a duration).
    checkpoint.every = "25%"
    # Newest checkpoints kept.
    checkpoint.keep_latest = 2
    # Best checkpoints kept, besides the newest.
    checkpoint.keep_best = 1
    # Validation metric that 'best' refers to.
    checkpoint.best_metric = "loss"
    return checkpoint


def _parallel() -> ml_collections.ConfigDict:
    parallel = Section()
    # Devices along each axis of the mesh; one of them may be -1 and takes what the others leave.
    # Every device of `data` and `fsdp` takes some rows of a batch; those of `data` hold the
    # parameters whole, those of `fsdp` a part of each.
    parallel.data = -1
    parallel.fsdp = 1
    # Devices that share each Transformer layer (its heads and feed-forward units) and vocabulary.
    parallel.model = 1
    return parallel


def _reporting() -> ml_collections.ConfigDict:
    reporting = Section()
    # How often training metrics are written (a duration).
    reporting.every = "50 steps"
    # Write TensorBoard events.
    reporting.tensorboard = True
    # Weights & Biases project; '' is off (needs the extra `wandb`).
    reporting.wandb_project = ""
    return reporting

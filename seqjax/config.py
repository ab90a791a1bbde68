"""Every field of an experiment, its default, and what it means; docs/CONFIG.md is made from this.

A config is an `ml_collections.ConfigDict`. Files under `configs/` start from `default_config()` and
change what their run needs. The command line overrides single fields:
`--config.model.encoder.layers=4`.

A duration (`train.duration`, `schedule.warmup`, `*.every`) is a string. A bare number or
`'500 steps'` counts updates, `'2.5 epochs'` passes over the training corpus, `'4M tokens'` target
tokens, and `'10%'` is a share of the whole training. `'0'` means never.

The comment before a field says what it means. What it accepts is in `seqjax.validation`. The fields
under `model` are in `seqjax.model_fields`.
"""

import ml_collections

from seqjax.model_fields import model_section
from seqjax.values import Section


def default_config() -> ml_collections.ConfigDict:
    """Returns every field with its default: a small Transformer on the built-in corpus."""
    config = Section()
    # What the model learns: 'text_to_text', a text from a text (translation); or 'language_model',
    # each token of a text from those before it, by the decoder alone, without attention to a
    # source.
    config.task = "text_to_text"
    # Seed of the initial parameters and of dropout; also of the batches if batching.seed is -1.
    config.seed = 0
    config.data = _data()
    config.tokenizer = _tokenizer()
    config.batching = _batching()
    config.model = model_section()
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
    """The corpus: where it lies, its languages and splits, and which pairs are trained on."""
    data = Section()
    # Where sentence pairs or documents come from: 'synthetic:translation' is built in, for language
    # models 'synthetic:sentences', its English side; 'text' is a file for each language, line by
    # line, or plain text; 'tsv' and 'jsonl' are columns or fields of one file; 'pattern' is a
    # regular expression for each line; 'tfds:NAME' is a data set of TensorFlow Datasets.
    data.corpus = "synthetic:translation"
    # Folder of the corpus, on this machine or in a bucket (gs://... or s3://..., read into memory).
    # '~' and '$VARIABLES' are expanded.
    data.directory = ""
    # Source language, as the corpus names it: the suffix of a file, a column, a field, a group of
    # the pattern, or a feature.
    data.source = "en"
    # Target language, as the corpus names it.
    data.target = "de"
    # Language models: the text, as the corpus names it: a column, a field, a group of the pattern,
    # or a feature.
    data.text = "text"
    # Language models: what a document of corpus 'text' is: a 'line', a 'block' of lines that ends
    # with a blank line, or the whole 'file'. Each ends with the end-of-sentence token.
    data.documents = "line"
    # File name of a split. 'text' fills in {split} and {language}, the other corpora {split}. It
    # has no {split} if data.split_by divides one file.
    data.files = "{split}.{language}"
    # Regular expression for a whole line of corpus 'pattern'. Its named groups are the sides: with
    # data.source = 'command' and data.target = 'actions', 'IN: (?P<command>.*) OUT:
    # (?P<actions>.*)'.
    data.pattern = ""
    # Name of the training split in the corpus.
    data.train = "train"
    # Name of the split that is evaluated during training.
    data.validation = "validation"
    # Name of the split that `evaluate` scores unless --split names another.
    data.test = "test"
    # Divide one file into train, validation and test: by 'line', at random; by 'source', which
    # keeps all pairs with the same source in one split; or in 'order', the first part for training,
    # then validation and test. '': each split has a file.
    data.split_by = ""
    # Seed of that division.
    data.split_seed = 0
    # Share of the pairs, documents or characters that becomes the validation split.
    data.validation_share = 0.05
    # Share of them that becomes the test split.
    data.test_share = 0.05
    # Number of training examples of the synthetic corpus.
    data.synthetic_size = 100_000
    # Number of training examples to use, from the first on; -1 uses all.
    data.limit = -1
    # Longest source in tokens, including end-of-sentence.
    data.max_source_length = 256
    # Longest target in tokens, including end-of-sentence.
    data.max_target_length = 256
    # Training pairs over either limit: 'drop' or 'cut'. Evaluation drops nothing; it cuts long
    # sources.
    data.over_length = "drop"
    # Training pairs with an empty side: 'drop' or 'keep'.
    data.empty = "drop"
    # Drop training pairs whose longer side has more than this many times the tokens of the shorter
    # one; 0 keeps them.
    data.max_length_ratio = 0.0
    # Drop training pairs that repeat an earlier one on both sides.
    data.drop_duplicates = False
    # Drop training pairs whose source occurs in the validation or test split.
    data.drop_overlap = False
    # Drop training pairs whose two sides are equal.
    data.drop_identical = False
    # Folder of the tokenized corpora, on this machine. It may be deleted at any time.
    data.cache = "~/.cache/seqjax"
    return data


def _tokenizer() -> ml_collections.ConfigDict:
    """How text becomes tokens. The vocabulary is learned from the training split."""
    tokenizer = Section()
    # Units of the text: 'unigram' or 'bpe' subwords (SentencePiece), 'word', 'character', 'byte',
    # 'space' (split at spaces only: phonemes, actions, tokenized text) or 'decomposed' (characters,
    # with accents split off and Hangul syllables split into letters).
    tokenizer.kind = "bpe"
    # Units of the target if they differ, which needs joint = False; '' takes `kind`.
    tokenizer.target_kind = ""
    # Largest number of entries, including the special ones. Bytes have a fixed vocabulary.
    tokenizer.vocabulary = 8000
    # One vocabulary for both sides.
    tokenizer.joint = True
    # Symbols with fewer occurrences are unknown ('word', 'character', 'space' and 'decomposed').
    tokenizer.minimum_frequency = 1
    # Lower-case both sides before tokenizing. Outputs are then lower-case; see
    # evaluation.lowercase.
    tokenizer.lowercase = False
    # Unicode normalization of both sides: 'none', 'NFC' (a composed and a decomposed accent are the
    # same text) or 'NFKC' (so are ligatures and full-width forms). References are
    # normalized before they are scored; sacreBLEU on their file may find another BLEU.
    tokenizer.normalization = "none"
    # Subword regularization: probability of BPE-dropout (Provilkov et al., 2020), or smoothing of
    # unigram sampling (Kudo, 2018); 0 is off.
    tokenizer.sampling = 0.0
    return tokenizer


def _batching() -> ml_collections.ConfigDict:
    """What a training batch holds."""
    batching = Section()
    # Seed of the order of batches and of subword sampling; -1 takes `seed`.
    batching.seed = -1
    # How batches are made. 'buckets': whole examples, those of similar length together. Language
    # models also have 'windows', blocks of all text as one stream in random order; 'streams',
    # blocks in their own order: a recurrent decoder carries its state from one to the next; and
    # 'packs': several whole documents in a row, which a Transformer keeps apart. '' is the default
    # of the task: 'buckets' for 'text_to_text', 'windows' for 'language_model'.
    batching.plan = ""
    # Plans 'windows', 'streams' and 'packs': tokens of a row.
    batching.length = 128
    # What limits a batch: 'tokens' (padded tokens of its longer side) or 'sentences'.
    batching.kind = "tokens"
    # Padded tokens of the longer side in a batch, over all devices.
    batching.tokens = 4096
    # Sentence pairs, documents, blocks or streams in a batch, over all devices.
    batching.sentences = 128
    # Largest number of batch shapes. Each is compiled once; more shapes mean less padding.
    batching.shapes = 6
    # Lengths are padded to a multiple of this.
    batching.multiple = 4
    return batching


def _loss() -> ml_collections.ConfigDict:
    """The training objective."""
    loss = Section()
    # Share of the probability that label smoothing spreads evenly over the vocabulary.
    loss.label_smoothing = 0.1
    # Activation regularization (Merity et al., 2017): weight of the mean square of the vectors that
    # the output projection reads, after their dropout.
    loss.activation = 0.0
    # Temporal activation regularization: weight of the mean square of what these vectors change
    # from one position to the next, before their dropout.
    loss.temporal_activation = 0.0
    return loss


def _optimizer() -> ml_collections.ConfigDict:
    """How gradients change the parameters."""
    optimizer = Section()
    # 'adam', 'adamw', 'adafactor' or 'sgd'.
    optimizer.kind = "adam"
    # Peak learning rate, reached at the end of warm-up.
    optimizer.learning_rate = 1e-3
    # Adam: decay of the first moment.
    optimizer.beta1 = 0.9
    # Adam: decay of the second moment.
    optimizer.beta2 = 0.98
    # Adam: added to the root of the second moment.
    optimizer.epsilon = 1e-9
    # SGD: momentum.
    optimizer.momentum = 0.9
    # AdamW, Adafactor, SGD: decoupled weight decay of matrices, or of the lengths of
    # weight-normalized ones. Biases and norms do not decay.
    optimizer.weight_decay = 0.0
    # Largest global norm of the gradient; 0 is off.
    optimizer.clip = 1.0
    # Split each batch into this many parts and add up their gradients: less memory, the same
    # update.
    optimizer.accumulate = 1
    # Decay of a moving average of the parameters, such as 0.999, which is then evaluated and used;
    # 0 keeps none.
    optimizer.moving_average = 0.0
    # Evaluate and use the mean of the parameters of all updates since the validation loss was
    # first worse than the best of all evaluations but the last so many (averaged SGD triggered by
    # validation: Merity et al., 2018); 0 keeps none.
    optimizer.average_trigger = 0
    return optimizer


def _schedule() -> ml_collections.ConfigDict:
    """The learning rate over the training."""
    schedule = Section()
    # After warm-up: 'constant', 'inverse_sqrt', 'cosine', 'linear'; 'step', which multiplies the
    # rate by schedule.factor again and again; or 'plateau', which does so when the validation loss
    # has not become better.
    schedule.kind = "inverse_sqrt"
    # Length of linear warm-up from zero: a duration, but not a time.
    schedule.warmup = "10%"
    # Learning rate at the end of 'cosine' and 'linear', as a share of the peak.
    schedule.final = 0.0
    # Schedule 'step': how long the rate stays at its peak, from the beginning of training on (a
    # duration, but neither a share nor a time).
    schedule.hold = "0"
    # Schedule 'step': the rate drops after schedule.hold, and then each time this long has passed.
    schedule.interval = "1 epoch"
    # Schedules 'step' and 'plateau': what the rate is multiplied by, more than 0 and at most 1.
    schedule.factor = 0.5
    # Schedule 'plateau': number of evaluations in a row without a better loss before the rate
    # drops.
    schedule.patience = 1
    return schedule


def _train() -> ml_collections.ConfigDict:
    """How long training takes."""
    train = Section()
    # Length of training: a duration, but not a share. A time such as '3 minutes' is converted to
    # steps once, when the training begins, by timing a few updates: it counts updates only, without
    # compiling, evaluating and saving, and the run then has this number of steps for good.
    train.duration = "2000 steps"
    # Stop early by this validation metric: 'loss', 'perplexity', 'accuracy', or one of
    # evaluation.metrics. '' trains to the end.
    train.stop_metric = ""
    # Number of evaluations in a row without a better value before training stops.
    train.patience = 5
    return train


def _evaluation() -> ml_collections.ConfigDict:
    """What is measured, and how often during training."""
    evaluation = Section()
    # How often the validation split is evaluated during training (a duration).
    evaluation.every = "25%"
    # Translate the validation split and score the outputs; otherwise only loss, perplexity and
    # accuracy are measured.
    evaluation.translate = True
    # Number of examples evaluated during training, from the first on; -1 takes all.
    evaluation.limit = -1
    # Language models, plan 'windows': score only the last so many tokens of each window, so that
    # each is predicted from at least batching.length - stride tokens; 0 scores all.
    evaluation.stride = 0
    # Language models, plan 'streams': mix in a continuous cache of so many tokens before each one
    # (Grave et al., 2017); 0 for none.
    evaluation.cache = 0
    # Its share of the probability.
    evaluation.cache_share = 0.1
    # How much likeness to a position counts: the factor of h_t . h_i in the exponent.
    evaluation.cache_flatness = 0.3
    # Lower-case outputs and references before scoring.
    evaluation.lowercase = False
    # Tokenizer of sacreBLEU for BLEU: '13a' for most languages, 'zh', 'ja-mecab', 'ko-mecab',
    # 'char' or 'flores200' for those without spaces, 'none' for tokenized text.
    evaluation.tokenize = "13a"
    # Metrics of the outputs: 'bleu', 'chrf', 'ter', 'exact_match', 'error_rate' (word error rate:
    # edits of the words between spaces).
    evaluation.metrics = ("bleu", "chrf", "ter", "exact_match")
    return evaluation


def _decode() -> ml_collections.ConfigDict:
    """Search for outputs, and the parameters that it uses."""
    decode = Section()
    # Number of hypotheses in the beam; 1 is greedy search.
    decode.beam_size = 4
    # Divisor of the log-probability of n tokens: 'gnmt' is ((5 + n) / 6)^a (Wu et al., 2016),
    # 'plain' n^a, 'none' 1.
    decode.length_normalization = "gnmt"
    # The exponent a; larger values favour longer outputs.
    decode.length_penalty = 0.6
    # Search ends when this many times beam_size hypotheses have finished (Kasai et al., 2022). 0
    # goes on until no live hypothesis can win, which is exact and slower.
    decode.patience = 1.0
    # Shortest output in tokens, without end-of-sentence.
    decode.min_length = 0
    # Allow the unknown token in outputs, '<unk>' in text; otherwise the best known token is taken.
    decode.unknown = False
    # Longest output in tokens: this many times the source's tokens, plus max_length_extra.
    decode.max_length_ratio = 2.0
    # Tokens added to that limit, including end-of-sentence.
    decode.max_length_extra = 10
    # Draw outputs at random instead of searching for the best: 'beam' searches, 'sample' draws. ''
    # is the default of the task: 'beam' for 'text_to_text', and 'sample', the only one, for
    # 'language_model'.
    decode.method = ""
    # Seed of samples. A sample depends on the seed, its input and its index alone.
    decode.seed = 0
    # Sampling: divide the logits by this; below 1 outputs are more probable, above 1 more diverse.
    # 0 takes the most probable token.
    decode.temperature = 1.0
    # Sampling: keep only this many of the most probable tokens (Fan et al., 2018); 0 keeps all.
    decode.top_k = 0
    # Sampling: keep the most probable tokens that together have this probability (Holtzman et al.,
    # 2020); 1 keeps all.
    decode.top_p = 1.0
    # Sampling: keep tokens that are at least this many times as probable as the most probable one
    # (Nguyen et al., 2024); 0 keeps all.
    decode.min_p = 0.0
    # Sampling: keep the tokens whose information is closest to the expected one, which together
    # have this probability (Meister et al., 2023); 1 keeps all.
    decode.typical_p = 1.0
    # Sampling: make tokens that have occurred less probable (Keskar et al., 2019); 1 does not.
    decode.repetition_penalty = 1.0
    # Language models: most tokens of a continuation.
    decode.max_new_tokens = 200
    # Language models: strings that end a continuation, and are left out of it.
    decode.stop = ()
    # Padded tokens in an evaluation batch: of the sources during search, of the longer side for the
    # loss.
    decode.tokens = 4096
    # Largest number of batch shapes during search; each is compiled once.
    decode.shapes = 4
    # Parameters to use: 'best', 'latest', or the number of a step.
    decode.checkpoint = "best"
    # Average the parameters of this many checkpoints: the chosen one and those before it.
    decode.average = 1
    return decode


def _checkpoint() -> ml_collections.ConfigDict:
    """What is saved during training."""
    checkpoint = Section()
    # How often the state is saved (a duration).
    checkpoint.every = "25%"
    # Number of latest checkpoints to keep.
    checkpoint.keep_latest = 2
    # Number of best checkpoints to keep besides them.
    checkpoint.keep_best = 1
    # Validation metric that decides which checkpoint is best.
    checkpoint.best_metric = "loss"
    return checkpoint


def _parallel() -> ml_collections.ConfigDict:
    """How devices share the work. A mesh has the product of the three fields."""
    parallel = Section()
    # Devices that share the rows of a batch and hold all parameters. In one field of this section,
    # -1 takes the devices that the others leave.
    parallel.data = -1
    # Devices that share the rows of a batch and hold a part of the parameters each.
    parallel.fsdp = 1
    # Devices that share each Transformer layer (its heads and feed-forward units) and the
    # vocabulary.
    parallel.model = 1
    return parallel


def _reporting() -> ml_collections.ConfigDict:
    """Where training metrics are written."""
    reporting = Section()
    # How often training metrics are written (a duration).
    reporting.every = "50 steps"
    # Write TensorBoard events into the run's folder.
    reporting.tensorboard = True
    # Project of Weights & Biases; '' is off. Needs the extra `wandb`.
    reporting.wandb_project = ""
    return reporting

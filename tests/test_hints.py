import re

import pytest

from seqjax.config import default_config
from seqjax.errors import UserError
from seqjax.fields import flatten, require_known
from seqjax.hints import hint
from seqjax.other_names import FIELDS, SENTENCES

_KNOWN = flatten(default_config())
_STACKS = "model.encoder.{0} model.decoder.{0}"


def _both(name):
    return _STACKS.format(name)


# What users of each would type, from its documentation, and the fields that it is here.
_FAIRSEQ = {
    "max_tokens": "batching.tokens",
    "batch_size": "batching.sentences batching.tokens",
    "max_sentences": "batching.sentences",
    "lr": "optimizer.learning_rate",
    "lr_scheduler": "schedule.kind",
    "warmup_updates": "schedule.warmup",
    "max_update": "train.duration",
    "max_epoch": "train.duration",
    "update_freq": "optimizer.accumulate",
    "clip_norm": "optimizer.clip",
    "adam_betas": "optimizer.beta1 optimizer.beta2",
    "adam_eps": "optimizer.epsilon",
    "arch": _both("kind"),
    "relu_dropout": _both("activation_dropout"),
    "activation_fn": _both("activation"),
    "encoder_layers": "model.encoder.layers",
    "encoder_embed_dim": "model.encoder.embedding_width",
    "encoder_ffn_embed_dim": "model.encoder.feed_forward",
    "encoder_attention_heads": "model.encoder.heads",
    "encoder_normalize_before": "model.encoder.normalization",
    "encoder_learned_pos": "model.encoder.positions",
    "encoder_hidden_size": "model.encoder.width",
    "encoder_bidirectional": "model.encoder.direction",
    "decoder_layers": "model.decoder.layers",
    "decoder_ffn_embed_dim": "model.decoder.feed_forward",
    "decoder_attention": "model.decoder.attention",
    "share_all_embeddings": "model.share_embeddings",
    "share_decoder_input_output_embed": "model.tie_output",
    "label-smoothing": "loss.label_smoothing",
    "source_lang": "data.source",
    "target-lang": "data.target",
    "max_source_positions": "model.encoder.max_positions data.max_source_length",
    "save_interval_updates": "checkpoint.every",
    "keep_last_epochs": "checkpoint.keep_latest",
    "keep_best_checkpoints": "checkpoint.keep_best",
    "best_checkpoint_metric": "checkpoint.best_metric",
    "validate_interval": "evaluation.every",
    "log_interval": "reporting.every",
    "eval_bleu": "evaluation.translate",
    "fp16": "model.dtype",
    "beam": "decode.beam_size",
    "lenpen": "decode.length_penalty",
    "max_len_a": "decode.max_length_ratio",
    "max_len_b": "decode.max_length_extra",
    "min_len": "decode.min_length",
    "unkpen": "decode.unknown",
    "tensorboard_logdir": "reporting.tensorboard",
    "joined_dictionary": "tokenizer.joint",
    "thresholdsrc": "tokenizer.minimum_frequency",
    "save_dir": "--workdir=DIR",
    "restore_file": "same command continues",
    "nbest": "--n_best=N",
    "sampling_topk": "decode.top_k",
    "sampling_topp": "decode.top_p",
    "tokens_per_sample": "batching.length",
    "sample_break_mode": "batching.plan",
    "remove_bpe": "detokenized",
    "distributed_world_size": "--processes=N",
}
_JOEY = {
    "data.src": "data.source",
    "data.trg": "data.target",
    "data.dev": "data.validation",
    "level": "tokenizer.kind",
    "voc_limit": "tokenizer.vocabulary",
    "src_voc_limit": "tokenizer.vocabulary",
    "trg.voc_min_freq": "tokenizer.minimum_frequency",
    "max_sent_length": "data.max_source_length data.max_target_length",
    "training.epochs": "train.duration",
    "training.updates": "train.duration",
    "training.random_seed": "seed",
    "training.scheduling": "schedule.kind",
    "training.learning_rate_warmup": "schedule.warmup",
    "training.learning_rate_min": "schedule.final",
    "training.batch_type": "batching.kind",
    "training.batch_multiplier": "optimizer.accumulate",
    "training.validation_freq": "evaluation.every",
    "training.logging_freq": "reporting.every",
    "training.early_stopping_metric": "train.stop_metric",
    "training.keep_best_ckpts": "checkpoint.keep_best",
    "training.clip_grad_norm": "optimizer.clip",
    "training.model_dir": "--workdir=DIR",
    "training.shuffle": "always shuffled",
    "use_cuda": "JAX_PLATFORMS",
    "testing.beam_alpha": "decode.length_penalty",
    "testing.beam_size": "decode.beam_size",
    "testing.eval_metrics": "evaluation.metrics",
    "testing.sacrebleu_cfg": "evaluation.tokenize",
    "testing.max_output_length": "decode.max_length_ratio decode.max_length_extra",
    "model.tied_embeddings": "model.share_embeddings",
    "model.tied_softmax": "model.tie_output",
    "model.encoder.rnn_type": "model.encoder.kind",
    "model.encoder.type": "model.encoder.kind",
    "model.encoder.hidden_size": "model.encoder.width",
    "model.encoder.ff_size": "model.encoder.feed_forward",
    "model.encoder.num_heads": "model.encoder.heads",
    "model.encoder.num_layers": "model.encoder.layers",
    "model.encoder.bidirectional": "model.encoder.direction",
    "model.decoder.init_hidden": "model.decoder.bridge",
    "model.decoder.embedding_dim": "model.decoder.embedding_width",
    "decoder.input_feeding": "model.decoder.input_feeding",
}
_OPENNMT = {
    "rnn_size": _both("width"),
    "enc_rnn_size": "model.encoder.width",
    "word_vec_size": _both("embedding_width"),
    "tgt_word_vec_size": "model.decoder.embedding_width",
    "enc_layers": "model.encoder.layers",
    "dec_layers": "model.decoder.layers",
    "encoder_type": "model.encoder.kind",
    "rnn_type": _both("kind"),
    "transformer_ff": _both("feed_forward"),
    "global_attention": "model.decoder.attention",
    "input_feed": "model.decoder.input_feeding",
    "train_steps": "train.duration",
    "valid_steps": "evaluation.every",
    "save_checkpoint_steps": "checkpoint.every",
    "keep_checkpoint": "checkpoint.keep_latest",
    "accum_count": "optimizer.accumulate",
    "max_grad_norm": "optimizer.clip",
    "decay_method": "schedule.kind",
    "warmup_steps": "schedule.warmup",
    "optim": "optimizer.kind",
    "adam_beta2": "optimizer.beta2",
    "src_vocab_size": "tokenizer.vocabulary",
    "share_vocab": "tokenizer.joint",
    "share_decoder_embeddings": "model.tie_output",
    "tgt_seq_length": "data.max_target_length",
    "position_encoding": _both("positions"),
    "average_decay": "optimizer.moving_average",
    "early_stopping": "train.patience",
    "report_every": "reporting.every",
    "cnn_kernel_width": _both("kernel"),
    "alpha": "decode.length_penalty",
    "decode.alpha": "decode.length_penalty",
    "replace_unk": "decode.unknown",
    "src_subword_type": "tokenizer.kind",
    "train_from": "same command continues",
    "gpu_ranks": "--processes=N",
}
_HUGGING_FACE = {
    "per_device_train_batch_size": "batching.sentences",
    "per_device_eval_batch_size": "decode.tokens",
    "gradient_accumulation_steps": "optimizer.accumulate",
    "num_train_epochs": "train.duration",
    "max_steps": "train.duration",
    "lr_scheduler_type": "schedule.kind",
    "warmup_ratio": "schedule.warmup",
    "adam_epsilon": "optimizer.epsilon",
    "label_smoothing_factor": "loss.label_smoothing",
    "logging_steps": "reporting.every",
    "eval_steps": "evaluation.every",
    "eval_strategy": "evaluation.every",
    "save_steps": "checkpoint.every",
    "save_total_limit": "checkpoint.keep_latest",
    "load_best_model_at_end": "decode.checkpoint",
    "metric_for_best_model": "checkpoint.best_metric",
    "predict_with_generate": "evaluation.translate",
    "generation_num_beams": "decode.beam_size",
    "bf16": "model.dtype",
    "gradient_checkpointing": _both("rematerialize"),
    "report_to": "reporting.tensorboard reporting.wandb_project",
    "early_stopping_patience": "train.patience",
    "max_train_samples": "data.limit",
    "train_file": "data.files",
    "num_beams": "decode.beam_size",
    "max_new_tokens": "decode.max_new_tokens decode.max_length_ratio decode.max_length_extra",
    "d_model": _both("width"),
    "encoder_ffn_dim": "model.encoder.feed_forward",
    "num_hidden_layers": _both("layers"),
    "num_attention_heads": _both("heads"),
    "num_key_value_heads": _both("key_value_heads"),
    "intermediate_size": _both("feed_forward"),
    "hidden_act": _both("activation"),
    "max_position_embeddings": _both("max_positions"),
    "vocab_size": "tokenizer.vocabulary",
    "tie_word_embeddings": "model.tie_output",
    "attention_probs_dropout_prob": _both("attention_dropout"),
    "sliding_window": _both("window"),
    "rope_theta": _both("positions"),
    "torch_dtype": "model.dtype",
    "output_dir": "--workdir=DIR",
    "resume_from_checkpoint": "same command continues",
    "do_sample": "decode.method",
    "top_p": "decode.top_p",
    "temperature": "decode.temperature",
    "block_size": "batching.length",
    "num_return_sequences": "--n_best=N",
    "dataloader_num_workers": "reads ahead",
    "greater_is_better": "known for each",
}
_KAULDRON = {
    "num_train_steps": "train.duration",
    "stop_after_steps": "train.duration",
    "log_metrics_every": "reporting.every",
    "checkpointer.save_interval_steps": "checkpoint.every",
    "checkpointer.max_to_keep": "checkpoint.keep_latest",
    "schedules.learning_rate": "optimizer.learning_rate schedule.kind",
    "rng_streams": "seed",
    "train_ds.batch_size": "batching.sentences batching.tokens",
    "evals.num_batches": "evaluation.limit",
    "sharding": "parallel.data",
    "workdir": "--workdir=DIR",
}
_OTHERS = {
    "model.encoder.hidden": "model.encoder.width",
    "batching.size": "batching.sentences batching.tokens",
    "data.path": "data.directory",
    "optimizer.name": "optimizer.kind",
    "optimizer.schedule": "schedule.kind",
    "evaluation.batch_size": "decode.tokens",
    "decode.early_stopping": "decode.patience",
    "parallel.tensor": "parallel.model",
    "encoder.layers": "model.encoder.layers",
    "every": "evaluation.every checkpoint.every reporting.every",
    # Slips.
    "model.encoder.head": "model.encoder.heads",
    "model.encoder.lyers": "model.encoder.layers",
    "optimiser.learning_rate": "optimizer.learning_rate",
    "optimizer.learning_rat": "optimizer.learning_rate",
    "sed": "seed",
    "decode.beam_sise": "decode.beam_size",
    "tokenizer.vocabulry": "tokenizer.vocabulary",
    "model.share_embedings": "model.share_embeddings",
}
_ALL = [
    pytest.param(given, meant, id=f"{framework}-{given}")
    for framework, table in (
        ("fairseq", _FAIRSEQ),
        ("joey", _JOEY),
        ("opennmt", _OPENNMT),
        ("hf", _HUGGING_FACE),
        ("kauldron", _KAULDRON),
        ("other", _OTHERS),
    )
    for given, meant in table.items()
]


@pytest.mark.parametrize(("given", "meant"), _ALL)
def test_a_name_from_elsewhere_leads_to_what_it_is_here(given, meant):
    with pytest.raises(UserError) as error:
        require_known(given)
    message = str(error.value)
    assert message.startswith(f"{given}: the config has no such field; ")
    fields = meant.split()
    if all(field in _KNOWN for field in fields):
        assert message.endswith("?")
        assert set(re.findall("'([^']+)'", message)) == set(fields)
    else:
        assert meant in message and "did you mean" not in message


def test_every_name_of_the_tables_leads_to_fields_or_a_sentence():
    for given in [*FIELDS, *SENTENCES]:
        text = hint(given, _KNOWN)
        named = re.findall("'([^']+)'", text) if text.startswith("; did you mean") else []
        assert named or text == f"; {SENTENCES.get(given)}", given
        assert set(named) <= set(_KNOWN), given
    for text in SENTENCES.values():
        fields = re.findall(r"\b[a-z]+\.[a-z_]+\b", text)
        assert set(fields) <= set(_KNOWN), text


def test_no_field_is_in_the_tables():
    assert not (set(FIELDS) | set(SENTENCES)) & set(_KNOWN)


@pytest.mark.parametrize("given", ["zzzzzz", "seed.x", "foo", "a.b.c", "model.encoder.foo", "size"])
def test_no_hint_is_better_than_a_wrong_one(given):
    assert "did you mean" not in hint(given, _KNOWN)


def test_the_fields_of_a_small_section_are_listed():
    assert hint("parallel.zzz", _KNOWN) == (
        "; expected one of parallel.data, parallel.fsdp, parallel.model"
    )
    assert hint("model.encoder.zzz", _KNOWN) == ""

"""What fields are called elsewhere: fairseq, Joey NMT, OpenNMT-py, Hugging Face, kauldron.

A stands without `encoder_`, `enc_`, `source_`, `src_` and the like: they choose the side. `*`
is both sides.
"""

# The fields here, and their names there.
_FIELDS = {
    # Data and vocabulary.
    "data.corpus": "dataset dataset_name dataset_config task_name data_type",
    "data.directory": "data_dir data_path data_folder dataset_dir path folder train_ds eval_ds",
    "data.files": (
        "train_file validation_file test_file train_src train_tgt valid_src valid_tgt trainpref"
        " validpref testpref path_src path_tgt train_path dev_path test_path"
    ),
    "data.*": "lang language src tgt trg source target",
    "data.train": "train_split train_subset split_train",
    "data.validation": "dev valid valid_split valid_subset eval_split validation_split dev_split",
    "data.test": "test_split gen_subset test_subset",
    "data.limit": ("max_train_samples random_train_subset num_examples max_examples train_samples"),
    "data.max_*_length": (
        "max_sent_length max_length_train seq_length max_seq_length max_seq_len seq_len"
        " max_sequence_length max_sentence_length max_len seq_length_trunc"
    ),
    "data.over_length": (
        "skip_invalid_size_inputs_valid_test truncate_source truncation filtertoolong"
    ),
    "data.drop_duplicates": "deduplicate dedup",
    "data.cache": "cache_dir destdir save_data",
    "tokenizer.kind": (
        "level subword_type bpe bpe_model tokenizer_type tokenizer_name subword subwords"
        " sentencepiece_model"
    ),
    "tokenizer.vocabulary": (
        "vocab_size voc_limit vocabulary_size nwords words_limit num_words n_vocab vocab voc_size"
        " max_vocab_size spm_vocab_size"
    ),
    "tokenizer.joint": "share_vocab joined_dictionary joint_vocab shared_vocab joint_vocabulary",
    "tokenizer.minimum_frequency": (
        "voc_min_freq min_freq thresholdsrc thresholdtgt words_min_frequency min_frequency"
        " vocab_min_freq minimum_count"
    ),
    "tokenizer.lowercase": "do_lower_case lower lower_case lowercasing",
    "tokenizer.sampling": (
        "bpe_dropout subword_alpha subword_nbest enable_sampling dropout_bpe spm_alpha nbest_size"
    ),
    "tokenizer.normalization": "unicode_normalization normalizer nmt_nfkc normalization_rule_name",
    # Batches.
    "batching.sentences": (
        "per_device_train_batch_size per_gpu_train_batch_size train_batch_size max_sentences"
        " num_sentences sentences_per_batch"
    ),
    "batching.tokens": "max_tokens tokens_per_batch batch_tokens num_tokens",
    "batching.sentences batching.tokens": "batch_size bsz batch global_batch_size",
    "batching.seed": "data_seed shuffle_seed sampler_seed",
    "batching.kind": "batch_type normalization_unit batch_by batching",
    "batching.length": "block_size tokens_per_sample bptt bptt_len context_length n_ctx",
    "batching.plan": "sample_break_mode group_texts",
    "batching.multiple": "required_batch_size_multiple pad_to_multiple_of batch_size_multiple",
    "batching.shapes": (
        "bucket_size num_buckets buckets num_batch_buckets group_by_length length_buckets"
    ),
    # Model: the stacks.
    "model.*.kind": (
        "arch architecture rnn_type cell_type cell rnn model_type family name rnn_cell"
        " unit_type layer_type"
    ),
    "model.*.layers": (
        "num_layers n_layers nlayers num_hidden_layers n_layer depth num_blocks num_rnn_layers"
    ),
    "model.*.width": (
        "hidden hidden_size hidden_dim d_model model_dim rnn_size n_embd hid_dim num_hidden dim"
        " hidden_units num_units d_hidden state_size n_hidden units model_size features"
    ),
    "model.*.embedding_width": (
        "embed_dim embedding_dim embedding_size word_vec_size emb_dim emb_size embed_size"
        " word_embed_dim embeddings"
    ),
    "model.*.dropout": (
        "hidden_dropout hidden_dropout_prob resid_pdrop embd_pdrop dropout_rate dropout_prob"
        " dropout_in dropout_out emb_dropout residual_dropout p_dropout"
    ),
    "model.*.heads": (
        "num_heads attention_heads num_attention_heads n_heads n_head nhead nheads attn_heads"
    ),
    "model.*.key_value_heads": "num_key_value_heads num_kv_heads n_kv_heads n_head_kv num_kv",
    "model.*.window": "sliding_window attention_window local_attention_window window_size",
    "model.*.feed_forward": (
        "ffn_embed_dim ff_size transformer_ff ffn_dim intermediate_size dim_feedforward d_ff"
        " filter_size ffn_size mlp_dim d_inner ff_dim n_inner inner_dim pf_dim"
    ),
    "model.*.activation": (
        "activation_fn hidden_act activation_function pos_ffn_activation_fn act_fn"
        " hidden_activation"
    ),
    "model.*.normalization": (
        "normalize_before layer_norm_position pre_norm prenorm norm_first layer_norm post_norm"
    ),
    "model.*.norm": "norm_type normalization_type layer_norm_type use_rms_norm rms_norm",
    "model.*.attention_dropout": (
        "attention_probs_dropout_prob attn_dropout attn_pdrop attention_dropout_rate"
    ),
    "model.*.activation_dropout": "relu_dropout ffn_dropout ff_dropout feed_forward_dropout",
    "model.*.positions": (
        "position_encoding learned_pos no_token_positional_embeddings max_relative_positions"
        " position_embedding_type rope_theta positional_embedding positional_encoding pos_encoding"
        " position_embedding use_rope position_encoding_type relative_positions"
    ),
    "model.*.max_positions": "max_position_embeddings n_positions n_ctx num_positions",
    "model.*.rematerialize": (
        "gradient_checkpointing checkpoint_activations remat use_checkpoint"
        " activation_checkpointing"
    ),
    "model.*.scan_layers": "scan",
    "model.*.kernel": "kernel_size cnn_kernel_width kernel_width filter_width",
    "model.*.max_dilation": "dilation dilations dilation_rate",
    "model.encoder.direction": "bidirectional brnn encoder_type_brnn bidirectional_encoder",
    "model.decoder.attention": (
        "global_attention attention_type attn_type attn attention_mechanism attention_score"
        " score_function global_attention_function attention_function"
    ),
    "model.decoder.input_feeding": "input_feed",
    "model.decoder.bridge": "init_hidden initial_state init_decoder encoder_decoder_bridge",
    "model.decoder.readout": "output_layer deep_output maxout attentional_vector",
    "model.*.recurrent_dropout": "weight_drop wdrop weight_dropout dropconnect",
    "model.*.forget_bias": "lstm_forget_bias forget_gate_bias unit_forget_bias",
    # Model: the rest.
    "model.share_embeddings": (
        "share_all_embeddings tied_embeddings share_emb shared_embeddings share_embedding"
    ),
    "model.tie_output": (
        "share_decoder_input_output_embed tie_word_embeddings share_decoder_embeddings tied_softmax"
        " tie_weights weight_tying tie_embeddings tied_output share_input_output_embed"
    ),
    "model.embedding_dropout": "dropoute embed_dropout word_dropout embedding_drop token_dropout",
    "model.embedding_initializer": "embed_initializer embedding_init init_emb initializer_range",
    "model.dtype": (
        "fp16 bf16 precision mixed_precision torch_dtype amp half model_dtype compute_dtype fp32"
        " float16 bfloat16 use_amp"
    ),
    # Optimization.
    "loss.label_smoothing": "label_smoothing_factor smoothing criterion label_smooth",
    "optimizer.kind": "optim optimizer optimizer_type optim_type optimizer_name algorithm",
    "optimizer.learning_rate": "lr peak_lr max_lr learning_rates lrate base_lr eta alpha_lr",
    "optimizer.beta1": "adam_beta1 b1",
    "optimizer.beta2": "adam_beta2 b2",
    "optimizer.beta1 optimizer.beta2": "adam_betas betas",
    "optimizer.epsilon": "adam_eps adam_epsilon eps adam_e",
    "optimizer.weight_decay": "wd l2 weight_decay_rate l2_regularization",
    "optimizer.clip": (
        "clip_norm clip_grad_norm clip_grad_val max_grad_norm grad_clip gradient_clip grad_norm"
        " clip_gradient gradient_clipping max_grad_value global_clip_norm"
    ),
    "optimizer.accumulate": (
        "update_freq accum_count gradient_accumulation_steps batch_multiplier accum_steps"
        " accumulate_grad_batches grad_accum gradient_accumulation accumulation_steps accum"
    ),
    "optimizer.moving_average": "ema average_decay ema_decay use_ema polyak ema_rate ema_power",
    "schedule.kind": (
        "lr_scheduler lr_scheduler_type scheduling decay_method scheduler lr_schedule schedule_type"
        " learning_rate_scheduling"
    ),
    "schedule.warmup": (
        "warmup_steps warmup_updates warmup_ratio learning_rate_warmup warmup_proportion num_warmup"
        " warm_up num_warmup_steps warmup_epochs lr_warmup"
    ),
    "schedule.final": "min_lr learning_rate_min end_learning_rate final_lr stop_min_lr lr_end",
    # Training.
    "train.duration": (
        "epochs max_epoch max_epochs num_train_epochs num_epochs max_update updates max_updates"
        " train_steps max_steps num_train_steps total_steps steps num_steps training_steps"
        " total_num_update max_train_steps stop_after_steps stop_time_hours max_time max_hours"
        " n_epochs nb_epochs iterations max_iters num_updates n_steps"
    ),
    "train.patience": (
        "early_stopping_patience early_stopping early_stop max_patience num_bad_epochs"
    ),
    "train.stop_metric": (
        "early_stopping_metric early_stopping_criteria early_stopping_criterion stopping_metric"
    ),
    "seed": "random_seed rng_seed manual_seed rng rng_streams",
    # Evaluation.
    "evaluation.every": (
        "validation_freq valid_steps eval_steps validate_interval validate_interval_updates"
        " eval_strategy evaluation_strategy eval_interval valid_interval eval_every"
        " validate_every validation_interval eval_freq valid_freq evals every_n_steps run_every"
        " eval_frequency check_val_every_n_epoch val_check_interval"
    ),
    "evaluation.translate": (
        "eval_bleu predict_with_generate scoring valid_translate compute_bleu eval_translate"
    ),
    "evaluation.limit": (
        "max_eval_samples eval_samples num_batches max_valid_samples max_eval_batches"
    ),
    "evaluation.metrics": (
        "eval_metrics eval_metric valid_metrics train_eval_metrics metric scorer"
    ),
    "evaluation.lowercase": "sacrebleu_lowercase bleu_lowercase lc eval_lowercase",
    "evaluation.tokenize": "sacrebleu_cfg sacrebleu_tokenizer eval_bleu_detok tok bleu_tokenize",
    # Search.
    "decode.beam_size": (
        "beam num_beams beam_width generation_num_beams beams beam_search eval_beams search_width"
    ),
    "decode.length_penalty": "lenpen alpha beam_alpha len_pen lp_alpha length_alpha",
    "decode.length_normalization": (
        "length_norm normalize_scores unnormalized no_length_norm length_normalize norm_scores"
    ),
    "decode.patience": "beam_patience patience_factor stop_early",
    "decode.min_length": (
        "min_len min_new_tokens min_output_length min_decode_length min_length_decode min_tgt_len"
    ),
    "decode.unknown": "generate_unk unkpen replace_unk ban_unk_token suppress_unk",
    "decode.max_length_ratio": "max_len_a max_length_a max_decoding_ratio",
    "decode.max_length_extra": "max_len_b max_length_b",
    "decode.max_new_tokens decode.max_length_ratio decode.max_length_extra": "max_new_tokens",
    "decode.max_length_ratio decode.max_length_extra": (
        "max_output_length max_decode_length generation_max_length"
        " max_decoding_length max_length max_target_len val_max_target_length max_gen_length"
    ),
    # Sampling.
    "decode.method": "do_sample multinomial_sampling sampling random_sampling",
    "decode.temperature": "random_sampling_temp sampling_temperature softmax_temperature",
    "decode.top_k": "sampling_topk random_sampling_topk",
    "decode.top_p": "sampling_topp random_sampling_topp nucleus_p nucleus",
    "decode.repetition_penalty": "repetition_penalization rep_pen",
    "decode.stop": "stop_strings stop_sequences stop_words",
    "decode.tokens": (
        "per_device_eval_batch_size eval_batch_size batch_size_valid max_tokens_valid"
        " valid_batch_size test_batch_size per_gpu_eval_batch_size infer_batch_size"
    ),
    "decode.checkpoint": (
        "load_best_model_at_end checkpoint_path load_model restore_checkpoint ckpt load_from"
        " restore_step"
    ),
    "decode.average": (
        "average_checkpoints num_epoch_checkpoints num_update_checkpoints avg_checkpoints"
        " checkpoint_averaging average_last"
    ),
    # Checkpoints, devices, reports.
    "checkpoint.every": (
        "save_steps save_interval save_interval_updates save_checkpoint_steps save_strategy"
        " save_interval_steps checkpointer save_every checkpoint_interval save_freq checkpoint_freq"
        " checkpoint_every ckpt_every"
    ),
    "checkpoint.keep_latest": (
        "keep_checkpoint save_total_limit keep_last_epochs keep_interval_updates max_to_keep"
        " keep_last_ckpts keep_last keep_last_n max_checkpoints keep_checkpoints"
    ),
    "checkpoint.keep_best": "keep_best_ckpts keep_best_checkpoints save_top_k keep_best_n",
    "checkpoint.best_metric": (
        "best_checkpoint_metric metric_for_best_model monitor best_metric_name ckpt_metric"
    ),
    "parallel.data": "data_parallel data_parallel_size ddp_backend dp_size sharding",
    "parallel.fsdp": "deepspeed zero_stage fully_sharded zero_sharding fsdp_config",
    "parallel.model": "tensor_parallel tensor_model_parallel_size model_parallel tp_size tensor",
    "reporting.every": (
        "logging_freq logging_steps log_interval report_every log_metrics_every log_every"
        " log_summaries_every log_every_n_steps log_steps print_every display_freq"
    ),
    "reporting.tensorboard": "tensorboard_logdir tensorboard_log_dir use_tensorboard summary_dir",
    "reporting.tensorboard reporting.wandb_project": "report_to logger loggers log_with",
    "reporting.wandb_project": "wandb wandb_entity use_wandb project wandb_name",
}

# What is no field here, and their names there.
_SENTENCES = {
    "the run's folder is --workdir=DIR": (
        "output_dir save_dir model_dir workdir save_model experiment_dir run_dir ckpt_dir exp_dir"
        " log_dir logging_dir overwrite_output_dir checkpoint_dir out_dir outdir"
    ),
    "the same command continues a run in its --workdir": (
        "resume resume_from_checkpoint restore_file train_from continue_training resume_from"
        " reset_optimizer init_from_checkpoint reset_lr_scheduler auto_resume"
    ),
    "`predict --n_best=N` prints the N best outputs": (
        "nbest n_best num_return_sequences n_best_list return_sequences"
    ),
    "`--processes=N` runs a training on several hosts; on one, it takes every device": (
        "world_size gpu_ranks distributed_world_size num_processes nproc_per_node n_gpu gpus"
        " num_gpus local_rank num_nodes device_ids master_port distributed_init_method"
    ),
    "JAX takes a GPU or TPU if it finds one; JAX_PLATFORMS=cpu keeps it from that": (
        "use_cuda cuda use_gpu gpu no_cuda use_cpu device accelerator cpu use_mps_device"
    ),
    "training batches are always shuffled: batching.seed": (
        "shuffle shuffle_train reshuffle no_shuffle sampler shuffle_buffer_size"
    ),
    "outputs are detokenized, and the metrics are computed on text": (
        "remove_bpe post_process postprocess detokenize detok bpe_codes skip_special_tokens"
    ),
    "updates are always compiled": "torch_compile compile jit_mode_eval use_jit torchscript",
    "whether a higher metric is better is known for each": (
        "greater_is_better maximize_best_checkpoint_metric early_stopping_mode"
    ),
    "one thread reads ahead; there is nothing to set": (
        "num_workers dataloader_num_workers prefetch_factor dataloader_pin_memory prefetch"
        " persistent_workers dataloader_drop_last"
    ),
    "warm-up starts at 0: schedule.warmup is its length": "warmup_init_lr init_lr warmup_start_lr",
    "`evaluate --show=N` prints N translations": "print_valid_sents eval_bleu_print_samples",
    "`predict --attention=DIR` draws attention": (
        "plot_attention save_attention store_attention attn_debug output_attentions print_alignment"
        " return_attention"
    ),
}

# Names that mean something else in one section than elsewhere.
_IN_SECTION = {
    "batching.size": "batching.sentences batching.tokens",
    "type": "model.*.kind",
    "max_source_positions": "model.encoder.max_positions data.max_source_length",
    "max_target_positions": "model.decoder.max_positions data.max_target_length",
    "encoder.type": "model.encoder.kind",
    "decoder.type": "model.decoder.kind",
    "model.encoder.type": "model.encoder.kind",
    "model.decoder.type": "model.decoder.kind",
    "model.encoder.name": "model.encoder.kind",
    "model.decoder.name": "model.decoder.kind",
    "model.name": "model.encoder.kind model.decoder.kind",
    "model.type": "model.encoder.kind model.decoder.kind",
    "tokenizer.type": "tokenizer.kind",
    "tokenizer.name": "tokenizer.kind",
    "tokenizer.size": "tokenizer.vocabulary",
    "tokenizer.threshold": "tokenizer.minimum_frequency",
    "tokenizer.alpha": "tokenizer.sampling",
    "tokenizer.dropout": "tokenizer.sampling",
    "tokenizer.shared": "tokenizer.joint",
    "tokenizer.share": "tokenizer.joint",
    "tokenizer.max_length": "data.max_source_length data.max_target_length",
    "optimizer.type": "optimizer.kind",
    "optimizer.name": "optimizer.kind",
    "optimizer.schedule": "schedule.kind",
    "optimizer.warmup": "schedule.warmup",
    "optimizer.scheduler": "schedule.kind",
    "optimizer.rate": "optimizer.learning_rate",
    "optimizer.ema": "optimizer.moving_average",
    "optimizer.decay": "optimizer.weight_decay",
    "schedule.type": "schedule.kind",
    "schedule.name": "schedule.kind",
    "schedule.steps": "train.duration",
    "schedule.decay": "schedule.kind",
    "schedule.learning_rate": "optimizer.learning_rate",
    "schedules.learning_rate": "optimizer.learning_rate schedule.kind",
    "loss.smoothing": "loss.label_smoothing",
    "loss.type": "loss.label_smoothing",
    "train.metric": "train.stop_metric",
    "train.every": "evaluation.every checkpoint.every reporting.every",
    "train.limit": "data.limit",
    "evaluation.batch_size": "decode.tokens",
    "evaluation.beam_size": "decode.beam_size",
    "evaluation.beam": "decode.beam_size",
    "evaluation.split": "data.validation data.test",
    "evaluation.tokenizer": "evaluation.tokenize",
    "evaluation.steps": "evaluation.every",
    "evaluation.interval": "evaluation.every",
    "evaluation.size": "evaluation.limit",
    "decode.batch_size": "decode.tokens",
    "decode.beta": "decode.length_penalty",
    "decode.max_len": "decode.max_length_ratio decode.max_length_extra",
    "decode.size": "decode.beam_size",
    "decode.width": "decode.beam_size",
    "decode.early_stopping": "decode.patience",
    "decode.step": "decode.checkpoint",
    "decode.unk": "decode.unknown",
    "checkpoint.keep": "checkpoint.keep_latest checkpoint.keep_best",
    "checkpoint.steps": "checkpoint.every",
    "checkpoint.interval": "checkpoint.every",
    "checkpoint.metric": "checkpoint.best_metric",
    "checkpoint.monitor": "checkpoint.best_metric",
    "reporting.steps": "reporting.every",
    "reporting.interval": "reporting.every",
    "data.name": "data.corpus",
    "data.type": "data.corpus",
    "data.format": "data.corpus",
    "data.kind": "data.corpus",
    "data.size": "data.synthetic_size data.limit",
    "data.dev": "data.validation",
    "data.valid": "data.validation",
    "data.file": "data.files",
    "data.regex": "data.pattern",
    "data.vocab_size": "tokenizer.vocabulary",
    "data.batch_size": "batching.sentences batching.tokens",
    "data.seed": "batching.seed",
    "model.embeddings": "model.encoder.embedding_width model.decoder.embedding_width",
    "model.initializer": "model.embedding_initializer",
    "model.size": "model.encoder.width model.decoder.width",
    "model.encoder.size": "model.encoder.width",
    "model.decoder.size": "model.decoder.width",
}


def _by_name() -> dict[str, tuple[str, ...]]:
    fields = {
        name: tuple(path.split()) for path, names in _FIELDS.items() for name in names.split()
    }
    return fields | {name: tuple(paths.split()) for name, paths in _IN_SECTION.items()}


# Name, or section and name -> paths here.
FIELDS = _by_name()
# Name -> what does it here.
SENTENCES = {name: text for text, names in _SENTENCES.items() for name in names.split()}

"""Searches with the Transformer of the contest in CTranslate2, given seqjax's parameters."""

import tempfile

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerSpec
from worker import serve, threads

SPECIAL = ["<blank>", "<s>", "</s>", "<unk>"]


def _linear(spec, params: dict, *names: str) -> None:
    """Fills a linear layer with one of ours, or with several concatenated."""
    spec.weight = np.concatenate([params[f"{name}/kernel"] for name in names], axis=1).T.copy()
    spec.bias = np.concatenate([params[f"{name}/bias"] for name in names])


def _norm(spec, params: dict, name: str) -> None:
    spec.gamma, spec.beta = params[f"{name}/scale"], params[f"{name}/bias"]


def _layer(spec, params: dict, name: str) -> None:
    own = f"{name}/attention"
    _norm(spec.self_attention.layer_norm, params, f"{name}/attention_residual/norm")
    _linear(spec.self_attention.linear[0], params, f"{own}/query", f"{own}/key", f"{own}/value")
    _linear(spec.self_attention.linear[1], params, f"{own}/output")
    if hasattr(spec, "attention"):
        cross = f"{name}/cross"
        _norm(spec.attention.layer_norm, params, f"{name}/cross_residual/norm")
        _linear(spec.attention.linear[0], params, f"{cross}/query")
        _linear(spec.attention.linear[1], params, f"{cross}/key", f"{cross}/value")
        _linear(spec.attention.linear[2], params, f"{cross}/output")
    _norm(spec.ffn.layer_norm, params, f"{name}/inner_residual/norm")
    _linear(spec.ffn.linear_0, params, f"{name}/inner/inner")
    _linear(spec.ffn.linear_1, params, f"{name}/inner/outer")


def convert(sizes: dict, params: dict, folder: str) -> list[str]:
    """Writes a CTranslate2 model into the folder; returns its vocabulary."""
    layers = sizes["layers"]
    spec = TransformerSpec.from_config((layers, layers), sizes["heads"], pre_norm=True)
    table = params["source_embedding/table"]
    spec.encoder.embeddings[0].weight = table
    spec.decoder.embeddings.weight = table
    spec.decoder.projection.weight = table
    for side, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        stack.position_encodings.encodings = _sinusoids(2 * sizes["length"], sizes["width"])
        _norm(stack.layer_norm, params, f"{side}/norm")
        for index, layer in enumerate(stack.layer):
            _layer(layer, params, f"{side}/block_{index}")
    vocabulary = SPECIAL + [f"t{i}" for i in range(len(SPECIAL), sizes["vocabulary"])]
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    spec.optimize()
    spec.save(folder)
    return vocabulary


def _sinusoids(length: int, width: int) -> np.ndarray:
    half = width // 2
    angles = np.arange(length)[:, None] * np.exp(-np.log(1e4) * np.arange(half) / (half - 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def prepare(sizes: dict):
    params = dict(np.load(sizes["model"]))
    source, target, expected = (
        params.pop(name) for name in ("source", "target", "log_probabilities")
    )
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = convert(sizes, params, folder)
        translator = ctranslate2.Translator(
            folder,
            device="cpu",
            compute_type="float32",
            inter_threads=sizes["workers"],
            intra_threads=threads() // sizes["workers"],
        )
    sources, targets = (
        [[vocabulary[i] for i in row] for row in rows.tolist()] for rows in (source, target)
    )
    scored = translator.score_batch(sources, targets)
    difference = np.abs(np.array([result.log_probs for result in scored]) - expected).max()
    if difference > 1e-3:
        raise ValueError(f"log probabilities differ by {difference}: not the same model")

    def translate(batches: int) -> dict:
        results = translator.translate_batch(
            sources * batches,
            max_batch_size=sizes["batch"],
            beam_size=sizes["beam_size"],
            length_penalty=0.6,
            max_decoding_length=sizes["length"],
            min_decoding_length=sizes["length"],
        )
        assert all(len(result.hypotheses[0]) == sizes["length"] for result in results)
        return {}

    translate(2)
    about = f"ctranslate2 {ctranslate2.__version__}, {threads()} threads"
    return {"runs": f"{about}, log probabilities equal to {difference:.0e}"}, translate


if __name__ == "__main__":
    serve(prepare)

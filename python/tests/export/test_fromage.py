"""Goal: decoders answer alike however the work is cut, and what cannot be exported rightly is refused with the reason.

Method: the tiny models' graphs in ONNX Runtime, in batches padded on the left and with a cache; exports of models broken
one thing at a time. What the answers must be is in `test_parity.py`.
"""

import json

import numpy as np
import pytest
import tiny_models as tm

from fromagerie.export import graph as graph_module
from fromagerie.export.bundle import write_bundle
from fromagerie.export.decoder import ShapeError
from fromagerie.export.dual import export_dual
from fromagerie.export.fromage import export_fromage
from fromagerie.export.graph import FLOAT, Graph
from fromagerie.export.language_model import LanguageModel
from fromagerie.export.maps import MapsError, write_safetensors
from fromagerie.export.pretrained_tokenizer import PretrainedTokenizer
from fromagerie.export.quantise import quantise_rows_4, restore_rows_4
from fromagerie.export.weights import Weights, WeightsError, find_model

ort = pytest.importorskip("onnxruntime")


def session(model):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options)


class Run:
    def __init__(self, model):
        self.session = session(model.decoder(None, 32).bytes())
        self.sizes = model.shape.sizes()

    def __call__(self, embeds, mask, past=None):
        s = self.sizes
        names = [f"{i}.{part}" for i in range(s.layers) for part in ("key", "value")]
        past = past or {name: np.zeros((len(embeds), s.kv_heads, 0, s.width), np.float32) for name in names}
        feeds = {"inputs_embeds": embeds, "attention_mask": mask, "num_logits_to_keep": np.array(0, np.int64)}
        feeds.update({f"past_key_values.{name}": value for name, value in past.items()})
        outputs = [output.name for output in self.session.get_outputs()]
        found = dict(zip(outputs, self.session.run(outputs, feeds)))
        return found["logits"], {name: found[f"present.{name}"] for name in names}


@pytest.fixture(params=tm.SHAPES, ids=[tiny.name for tiny in tm.SHAPES])
def run(request, tmp_path):
    tm.write_language_model(request.param, tmp_path / "lm")
    return Run(LanguageModel(tmp_path / "lm"))


def test_a_batch_padded_on_the_left_answers_as_each_row_alone(run):
    r = np.random.default_rng(0)
    rows = [r.standard_normal((n, run.sizes.embedding)).astype(np.float32) for n in (9, 4, 1)]
    batch, mask = np.zeros((3, 9, run.sizes.embedding), np.float32), np.zeros((3, 9), np.int64)
    for i, row in enumerate(rows):
        batch[i, 9 - len(row) :], mask[i, 9 - len(row) :] = row, 1
    together, past = run(batch, mask)
    step = r.standard_normal((3, 2, run.sizes.embedding)).astype(np.float32)
    after, _ = run(step, np.concatenate([mask, np.ones((3, 2), np.int64)], 1), past)
    for i, row in enumerate(rows):
        alone, own = run(row[None], np.ones((1, len(row)), np.int64))
        np.testing.assert_allclose(together[i, 9 - len(row) :], alone[0], rtol=0, atol=1e-4)
        alone, _ = run(step[i][None], np.ones((1, len(row) + 2), np.int64), own)
        np.testing.assert_allclose(after[i], alone[0], rtol=0, atol=1e-4)


def test_steps_with_a_cache_equal_one_pass(run):
    x = np.random.default_rng(1).standard_normal((1, 12, run.sizes.embedding)).astype(np.float32)
    whole, _ = run(x, np.ones((1, 12), np.int64))
    past, at = None, 0
    for n in (5, 1, 4, 2):
        part, past = run(x[:, at : at + n], np.ones((1, at + n), np.int64), past)
        np.testing.assert_allclose(part, whole[:, at : at + n], rtol=0, atol=1e-4)
        at += n


def test_a_large_graph_keeps_its_weights_beside_it(tmp_path, monkeypatch):
    tm.write_language_model(tm.SHAPES[0], tmp_path / "lm")
    model = LanguageModel(tmp_path / "lm")
    files = {name: b"{}" for name in ("tokenizer.json", "preprocessor_config.json", "generation_config.json",
                                      "onnx/vision_encoder.onnx", "onnx/embed_tokens.onnx")}  # fmt: skip
    name = "onnx/decoder_model_merged.onnx"
    whole = model.decoder(None, 32).bytes()
    monkeypatch.setattr(graph_module, "EXTERNAL_OVER", 10_000)
    manifest = write_bundle(tmp_path / "out", {"name": "x"}, {**files, name: lambda: model.decoder(None, 32)})
    sizes = {key: entry["bytes"] for key, entry in manifest["files"].items()}
    assert sizes[name] < len(whole) / 2 < sizes[name + "_data"]
    feeds = {"inputs_embeds": np.ones((1, 3, 32), np.float32), "attention_mask": np.ones((1, 3), np.int64),
             "num_logits_to_keep": np.array(1, np.int64)}  # fmt: skip
    none = np.zeros((1, 4, 0, 8), np.float32)
    feeds.update({f"past_key_values.{i}.{part}": none for i in range(3) for part in ("key", "value")})
    answers = [session(m).run(["logits"], feeds)[0] for m in (whole, str(tmp_path / "out" / name))]
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("columns", [32, 96])
def test_four_bits_restore_within_half_a_step(columns):
    weight = np.random.default_rng(2).standard_normal((5, columns)).astype(np.float32)
    weight[0] = 0
    weight[1] = np.abs(weight[1])
    packed, scales, zeros = quantise_rows_4(weight)
    restored = restore_rows_4(packed, scales, zeros)
    blocks = weight.reshape(5, -1, 32)
    step = (np.maximum(blocks.max(2), 0) - np.minimum(blocks.min(2), 0)) / 15
    error = ((restored - weight).reshape(5, -1, 32) ** 2).mean(2)
    assert (error <= step**2 / 4).all() and (restored[0] == 0).all()
    x = np.random.default_rng(3).standard_normal((1, 2, columns)).astype(np.float32)
    g = Graph("g")
    g.output("y", g.linear(g.input("x", FLOAT, ["a", "b", columns]), weight, bits=4), FLOAT, ["a", "b", 5])
    (found,) = session(g.bytes()).run(["y"], {"x": x})
    np.testing.assert_allclose(found, x @ restored.T, rtol=0, atol=0.15)  # the kernel rounds activations to 8 bits


def broken(tmp_path, change):
    tiny = tm.SHAPES[0]
    tm.write_all(tiny, tmp_path)
    change(tmp_path)
    places = (tmp_path / "maps", str(tmp_path / "lm"), str(tmp_path / "clip"), tmp_path / "out")
    export_fromage(*places, say=lambda line: None)


def rewrite(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without(tensors, name):
    return {key: value for key, value in tensors.items() if key != name}


def checkpoint(change):
    def apply(place):
        tensors = change(tm.map_tensors(tm.SHAPES[0]))
        (place / "maps" / "pretrained_ckpt.pth.tar").write_bytes(tm.state_dict(tensors, wrap="state_dict"))

    return apply


def language(change):
    def apply(place):
        write_safetensors(place / "lm" / "model.safetensors", change(tm.language_tensors(tm.SHAPES[0])), {})

    return apply


Q = "model.decoder.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize("error, says, change", [
    (WeightsError, "language model of type 'gpt2'; known are", lambda p: rewrite(p / "lm/config.json", model_type="gpt2")),
    (WeightsError, "a sliding window of 4096 positions",
     lambda p: rewrite(p / "lm/config.json", model_type="mistral", max_position_embeddings=8192)),
    (WeightsError, "activation 'swish'", lambda p: rewrite(p / "lm/config.json", activation_function="swish")),
    (WeightsError, "vision model of type 'vit'", lambda p: rewrite(p / "clip/config.json", model_type="vit")),
    (WeightsError, "neither tokenizer.json nor vocab.json", lambda p: (p / "lm/vocab.json").unlink()),
    (WeightsError, "has neither model.safetensors", lambda p: (p / "lm/model.safetensors").unlink()),
    (WeightsError, "bad header", lambda p: (p / "lm/model.safetensors").write_bytes(b"\x08" + b"\0" * 7 + b"notjson!")),
    (WeightsError, "model_args.json", lambda p: (p / "maps/model_args.json").unlink()),
    (MapsError, "n_visual_tokens is 9, expected 1 to 8", lambda p: rewrite(p / "maps/model_args.json", n_visual_tokens=9)),
    (MapsError, "visual_embeddings gives 32 numbers, expected 64",
     lambda p: rewrite(p / "maps/model_args.json", n_visual_tokens=2)),
    (MapsError, "text_emb_layers names 7", lambda p: rewrite(p / "maps/model_args.json", text_emb_layers=[7])),
    (MapsError, r"text_hidden_fcs.0.0.weight is \[12, 32\]; it must be \[\*, 20\]|visual_embeddings",
     lambda p: tm.write_language_model(tm.SHAPES[1], p / "lm") or (p / "lm/model.safetensors").unlink()),
    (MapsError, "has no 'ret_input_embeddings.weight'", checkpoint(lambda t: without(t, "ret_input_embeddings.weight"))),
    (MapsError, "text_hidden_fcs.0.0.weight is absent", checkpoint(lambda t: without(t, "model.text_hidden_fcs.0.0.weight"))),
    (ShapeError, f"the weights have no '{Q}'", language(lambda t: without(t, Q))),
    (ShapeError, r"is \[32, 8\]; by the configuration it must be \[-1, 32\]", language(lambda t: {**t, Q: t[Q][:, :8].copy()})),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_what_does_not_fit_is_refused(error, says, change, tmp_path):
    with pytest.raises(error, match=says):
        broken(tmp_path, change)
    assert not (tmp_path / "out").exists()


def test_a_model_by_hub_id_is_found_in_the_cache_or_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshot = tmp_path / "hub" / "models--some--one" / "snapshots" / "abc"
    tm.write_language_model(tm.SHAPES[0], snapshot)
    assert find_model("some/one") == snapshot
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match="some/two.*huggingface_hub"):
        find_model("some/two")


def test_half_precision_weights_are_widened(tmp_path):
    values = np.array([[1.5, -2.25]], np.float32)
    write_safetensors(tmp_path / "model.safetensors", {"a": values.astype(np.float16)}, {})
    found = Weights(tmp_path)["a"]
    assert found.dtype == np.float32 and np.array_equal(found, values)


def test_appended_tokens_get_the_next_ids_and_known_ones_keep_theirs(tmp_path):
    tm.write_tokenizer(tmp_path)
    tokenizer = PretrainedTokenizer(tmp_path)
    assert tokenizer.append(["<|image|>", "[RET]"]) == [46, 47] == tokenizer.append(["<|image|>", "[RET]"])
    words = pytest.importorskip("tokenizers").Tokenizer.from_str(tokenizer.encode().decode())
    assert words.encode("the dog[RET]").tokens == ["the", "Ġdog", "[RET]"]


def test_an_early_clip_ends_texts_with_its_last_token(tmp_path):
    tm.write_clip(tmp_path / "clip")
    config = json.loads((tmp_path / "clip/config.json").read_text())
    config["text_config"].update(bos_token_id=0, eos_token_id=2)
    (tmp_path / "clip/config.json").write_text(json.dumps(config))
    manifest = export_dual(str(tmp_path / "clip"), tmp_path / "out", say=lambda line: None)
    assert manifest["retrieval"]["ret_token_ids"] == [45]
    assert json.loads((tmp_path / "out/generation_config.json").read_text())["bos_token_id"] == 44
    rewrite(tmp_path / "clip/config.json", **{**config["vision_config"], "model_type": "clip_vision_model"})
    with pytest.raises(WeightsError, match="vision encoder alone"):
        export_dual(str(tmp_path / "clip"), tmp_path / "two", say=lambda line: None)

"""Goal: the decoder's graph computes what a Llama computes, in every way a caller may cut the work.

Method: `reference` is a forward pass in plain numpy, written from the published formulas and sharing no code with
the graph builder; tiny random weights; Hugging Face's own model as a second witness where it is installed.
"""

import numpy as np
import pytest

from fromagerie.export.llama import decoder_graph, embed_graph
from fromagerie.export.maps import Maps
from fromagerie.export.quantise import quantise_rows, restore_rows

ort = pytest.importorskip("onnxruntime")  # its wheels are for Python 3.11 and later

CONFIG = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "vocab_size": 50,
    "max_position_embeddings": 64, "tie_word_embeddings": True,
}  # fmt: skip
DIM = 24


def weights(config, seed=0):
    r = np.random.default_rng(seed)
    hidden, inner, width = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    q, kv = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
    shapes = {"self_attn.q_proj": (q, hidden), "self_attn.k_proj": (kv, hidden), "self_attn.v_proj": (kv, hidden),
              "self_attn.o_proj": (hidden, q), "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden),
              "mlp.down_proj": (hidden, inner)}  # fmt: skip
    out = {"model.embed_tokens.weight": r.normal(size=(config["vocab_size"], hidden)),
           "model.norm.weight": r.uniform(0.5, 1.5, hidden)}  # fmt: skip
    if not config["tie_word_embeddings"]:
        out["lm_head.weight"] = r.normal(size=(config["vocab_size"], hidden))
    for i in range(config["num_hidden_layers"]):
        for name, shape in shapes.items():
            out[f"model.layers.{i}.{name}.weight"] = r.normal(size=shape) * shape[1] ** -0.5 * 1.5
        for name in ("input_layernorm", "post_attention_layernorm"):
            out[f"model.layers.{i}.{name}.weight"] = r.uniform(0.5, 1.5, hidden)
    return {name: value.astype(np.float32) for name, value in out.items()}


def some_maps(layers=(1, -1), seed=5):
    r = np.random.default_rng(seed)
    n = lambda *shape: (r.normal(size=shape) * 0.2).astype(np.float32)  # noqa: E731
    hidden = CONFIG["hidden_size"]
    tensors = {"ret_input_embedding": n(hidden), "ret_output_embedding": n(hidden), "ret_output_bias": n(1)}
    for i in range(len(layers)):
        tensors.update({
            f"text_hidden_fcs.{i}.0.weight": n(40, hidden), f"text_hidden_fcs.{i}.0.bias": n(40),
            f"text_hidden_fcs.{i}.2.weight": n(40) + 1, f"text_hidden_fcs.{i}.2.bias": n(40),
            f"text_hidden_fcs.{i}.3.weight": n(DIM, 40),
        })  # fmt: skip
    config = {"text_emb_layers": list(layers), "dim": DIM, "num_visual_tokens": 2, "encoders": [],
              "text_hidden_fcs": [["linear"], ["gelu"], ["layernorm"], ["linear"]]}  # fmt: skip
    return Maps(config, tensors)


def reference(config, w, embeds):
    """Hidden states [layers + 1][S, hidden] and logits [S, vocab] of one unpadded row."""
    x = embeds.astype(np.float64)
    steps, heads, kv, width = len(x), config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]

    def norm(x, gain):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + config["rms_norm_eps"]) * gain

    def rope(x):
        out = np.empty_like(x)
        for t in range(steps):
            for i in range(width // 2):
                angle = t / config["rope_theta"] ** (2 * i / width)
                a, b = x[t, :, i], x[t, :, i + width // 2]
                out[t, :, i] = a * np.cos(angle) - b * np.sin(angle)
                out[t, :, i + width // 2] = b * np.cos(angle) + a * np.sin(angle)
        return out

    states = []
    for layer in range(config["num_hidden_layers"]):
        states.append(x)
        p = f"model.layers.{layer}."
        h = norm(x, w[p + "input_layernorm.weight"])
        q = rope((h @ w[p + "self_attn.q_proj.weight"].T).reshape(steps, heads, width))
        k = rope((h @ w[p + "self_attn.k_proj.weight"].T).reshape(steps, kv, width))
        v = (h @ w[p + "self_attn.v_proj.weight"].T).reshape(steps, kv, width)
        out = np.zeros((steps, heads, width))
        for head in range(heads):
            source = head // (heads // kv)
            for t in range(steps):
                scores = k[: t + 1, source] @ q[t, head] / np.sqrt(width)
                scores = np.exp(scores - scores.max())
                out[t, head] = scores / scores.sum() @ v[: t + 1, source]
        x = x + out.reshape(steps, -1) @ w[p + "self_attn.o_proj.weight"].T
        h = norm(x, w[p + "post_attention_layernorm.weight"])
        gate = h @ w[p + "mlp.gate_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w[p + "mlp.up_proj.weight"].T)) @ w[p + "mlp.down_proj.weight"].T
    states.append(norm(x, w["model.norm.weight"]))
    return states, states[-1] @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T


def reference_retrieval(maps, states):
    from math import erf

    total = 0
    for i, layer in enumerate(maps.config["text_emb_layers"]):
        t = lambda j, part, i=i: maps.tensors.get(f"text_hidden_fcs.{i}.{j}.{part}")  # noqa: E731
        x = states[layer] @ t(0, "weight").T + t(0, "bias")
        x = x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * t(2, "weight") + t(2, "bias")
        total = total + x @ t(3, "weight").T
    return total


class Session:
    def __init__(self, config, graph):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.config, self.session = config, ort.InferenceSession(graph.bytes(), options)

    def __call__(self, embeds, mask, past=None, keep=0):
        layers, kv, width = (self.config[k] for k in ("num_hidden_layers", "num_key_value_heads", "head_dim"))
        names = [f"{i}.{part}" for i in range(layers) for part in ("key", "value")]
        past = past or {name: np.zeros((len(embeds), kv, 0, width), np.float32) for name in names}
        feeds = {"inputs_embeds": embeds, "attention_mask": mask, "num_logits_to_keep": np.array(keep, np.int64)}
        feeds.update({f"past_key_values.{name}": value for name, value in past.items()})
        outputs = [output.name for output in self.session.get_outputs()]
        result = dict(zip(outputs, self.session.run(outputs, feeds)))
        return result, {name: result[f"present.{name}"] for name in names}


def close(found, expected, limit=1e-4):
    np.testing.assert_allclose(found, expected, rtol=0, atol=limit)


@pytest.fixture(scope="module")
def model():
    w, maps = weights(CONFIG), some_maps()
    return w, maps, Session(CONFIG, decoder_graph(CONFIG, w, maps))


def embeds(rows, steps, seed=1):
    return np.random.default_rng(seed).normal(size=(rows, steps, CONFIG["hidden_size"])).astype(np.float32)


def ones(rows, steps):
    return np.ones((rows, steps), np.int64)


def test_logits_and_retrieval_equal_the_reference(model):
    w, maps, session = model
    x = embeds(1, 11)
    result, present = session(x, ones(1, 11))
    states, logits = reference(CONFIG, w, x[0])
    close(result["logits"][0, :, :50], logits)
    ret = states[-1] @ maps.tensors["ret_output_embedding"] + maps.tensors["ret_output_bias"]
    close(result["logits"][0, :, 50], ret)
    close(result["retrieval_embedding"][0], reference_retrieval(maps, states))
    assert present["0.key"].shape == (1, 2, 11, 16)


@pytest.mark.parametrize("cut", [[1] * 9, [5, 4], [3, 1, 5], [8, 1]], ids=str)
def test_a_cache_changes_nothing(model, cut):
    _, _, session = model
    x = embeds(2, 9)
    whole, _ = session(x, ones(2, 9))
    at, past = 0, None
    for count in cut:
        part, past = session(x[:, at : at + count], ones(2, at + count), past)
        close(part["logits"], whole["logits"][:, at : at + count], 2e-5)
        close(part["retrieval_embedding"], whole["retrieval_embedding"][:, at : at + count], 2e-5)
        at += count


@pytest.mark.parametrize("cut", [[9], [6, 3], [2, 7], [7, 1, 1]], ids=str)
def test_padding_on_the_left_changes_nothing(model, cut):
    """Rows of 9, 5 and 7 steps in one batch, padded with noise, whole and through a cache."""
    _, _, session = model
    lengths = [9, 5, 7]
    x, mask = embeds(3, 9), ones(3, 9)
    for row, length in enumerate(lengths):
        mask[row, : 9 - length] = 0
    at, past, parts = 0, None, []
    for count in cut:
        part, past = session(x[:, at : at + count], np.ascontiguousarray(mask[:, : at + count]), past)
        parts.append(part["logits"])
        at += count
    logits = np.concatenate(parts, 1)
    assert np.isfinite(logits).all()
    for row, length in enumerate(lengths):
        alone, _ = session(x[row : row + 1, 9 - length :], ones(1, length))
        close(logits[row, 9 - length :], alone["logits"][0], 2e-5)


@pytest.mark.parametrize("keep,expected", [(0, 7), (1, 1), (3, 3), (7, 7), (99, 7)])
def test_only_the_wanted_logits(model, keep, expected):
    _, _, session = model
    x = embeds(2, 7)
    whole, _ = session(x, ones(2, 7))
    part, _ = session(x, ones(2, 7), keep=keep)
    assert part["logits"].shape == (2, expected, 51)
    close(part["logits"], whole["logits"][:, -expected:], 2e-5)
    assert part["retrieval_embedding"].shape == (2, 7, DIM)


@pytest.mark.parametrize("layers", [(0,), (2, 3), (-4,), (1, 1)], ids=str)
def test_hidden_states_are_numbered_as_hugging_face_does(layers):
    w, maps = weights(CONFIG), some_maps(layers)
    x = embeds(1, 4)
    result, _ = Session(CONFIG, decoder_graph(CONFIG, w, maps))(x, ones(1, 4))
    close(result["retrieval_embedding"][0], reference_retrieval(maps, reference(CONFIG, w, x[0])[0]))


@pytest.mark.parametrize("change", [
    {"num_key_value_heads": 4}, {"num_key_value_heads": 1}, {"tie_word_embeddings": False}, {"rope_theta": 500.0},
    {"head_dim": 32}, {"rms_norm_eps": 0.1},
], ids=str)  # fmt: skip
def test_other_shapes_of_llama(change):
    config = {**CONFIG, **change}
    w, x = weights(config), embeds(1, 6)
    result, _ = Session(config, decoder_graph(config, w))(x, ones(1, 6))
    close(result["logits"][0], reference(config, w, x[0])[1])
    assert "retrieval_embedding" not in result


@pytest.mark.parametrize("change", [
    {"rope_scaling": {"type": "linear"}}, {"sliding_window": 16}, {"hidden_act": "gelu"},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
], ids=str)  # fmt: skip
def test_what_would_be_computed_wrongly_is_refused(change):
    with pytest.raises(ValueError):
        decoder_graph({**CONFIG, **change}, weights(CONFIG))


def test_eight_bits_stay_near():
    w, maps, x = weights(CONFIG), some_maps(), embeds(1, 8)
    exact, _ = Session(CONFIG, decoder_graph(CONFIG, w, maps))(x, ones(1, 8))
    graph = decoder_graph(CONFIG, w, maps, bits=8)
    near, _ = Session(CONFIG, graph)(x, ones(1, 8))
    kinds = [node.op_type for node in graph.model().graph.node]
    assert kinds.count("MatMulNBits") == 4 * CONFIG["num_hidden_layers"] + 1
    for name in ("logits", "retrieval_embedding"):
        cosine = (exact[name] * near[name]).sum() / np.linalg.norm(exact[name]) / np.linalg.norm(near[name])
        assert 0.998 < cosine < 1 - 1e-9


def test_rounding_is_at_most_half_a_step():
    weight = np.random.default_rng(0).normal(size=(7, 96)).astype(np.float32)
    weight[3] = 0
    codes, scales = quantise_rows(weight)
    error = np.abs(restore_rows(codes, scales) - weight).reshape(7, 3, 32).max(2)
    assert (error <= scales.reshape(7, 3) * 0.5001).all() and (restore_rows(codes, scales)[3] == 0).all()


@pytest.mark.parametrize("bits,limit", [(32, 0), (8, 0.02)])
def test_embeddings_with_ret_last(bits, limit):
    w, maps = weights(CONFIG), some_maps()
    session = ort.InferenceSession(embed_graph(w, maps, bits).bytes())
    (found,) = session.run(None, {"input_ids": np.array([[0, 50, 3], [49, 7, 50]])})
    table = np.concatenate([w["model.embed_tokens.weight"], maps.tensors["ret_input_embedding"][None]])
    close(found, table[[[0, 50, 3], [49, 7, 50]]], limit)


def test_the_same_weights_give_the_same_bytes():
    first, second = (decoder_graph(CONFIG, weights(CONFIG), some_maps(), bits=8).bytes() for _ in range(2))
    assert first == second


def test_hugging_face_agrees():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    rope = {"rope_type": "default", "rope_theta": CONFIG["rope_theta"]}
    settings = {key: value for key, value in CONFIG.items() if key != "rope_theta"}
    try:
        config = transformers.LlamaConfig(**settings, rope_parameters=rope)
    except TypeError:
        config = transformers.LlamaConfig(**CONFIG)
    theirs, w, x = transformers.LlamaForCausalLM(config).eval(), weights(CONFIG), embeds(2, 10)
    state = {name: torch.from_numpy(value) for name, value in w.items()}
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    theirs.load_state_dict(state)
    mask = ones(2, 10)
    mask[1, :4] = 0
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    with torch.no_grad():
        expected = theirs(inputs_embeds=torch.from_numpy(x), attention_mask=torch.from_numpy(mask),
                          position_ids=torch.from_numpy(positions), output_hidden_states=True)  # fmt: skip
    maps = some_maps((0, 1, 2, 3))
    found, _ = Session(CONFIG, decoder_graph(CONFIG, w, maps))(x, mask)
    real = mask.astype(bool)
    close(found["logits"][real][:, :50], expected.logits.numpy()[real])
    states = [state.numpy().astype(np.float64) for state in expected.hidden_states]
    close(found["retrieval_embedding"][real], reference_retrieval(maps, states)[real])

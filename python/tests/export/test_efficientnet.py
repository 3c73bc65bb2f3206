"""Goal: the encoder's graph is EfficientNet-Lite, and the maps behind it are applied as configured.

Method: one convolution is compared with loops in numpy; whole encoders with the PyTorch implementation where both it
and PyTorch are installed, on random weights; maps with numpy on the graph's own features.
"""

import math

import numpy as np
import pytest

from fromagerie.export.efficientnet import STAGES, VARIANTS, _channels, _Encoder, vision_graph
from fromagerie.export.graph import FLOAT, Graph
from fromagerie.export.maps import Maps, MapsError

ort = pytest.importorskip("onnxruntime")  # its wheels are for Python 3.11 and later

HIDDEN, DIM, TOKENS = 8, 6, 2


def random_norm(r, name, channels):
    return {
        f"{name}.weight": r.uniform(0.5, 1.5, channels), f"{name}.bias": r.normal(size=channels) * 0.1,
        f"{name}.running_mean": r.normal(size=channels) * 0.1, f"{name}.running_var": r.uniform(0.5, 1.5, channels),
    }  # fmt: skip


def checkpoint(variant, seed=0):
    """Random weights by the checkpoint's names."""
    r, v, out = np.random.default_rng(seed), VARIANTS[variant], {}

    def conv(name, norm, rows, columns, size):
        out[f"{name}.weight"] = r.normal(size=(rows, columns, size, size)) * (columns * size * size) ** -0.5
        out.update(random_norm(r, norm, rows))

    conv("_conv_stem", "_bn0", 32, 3, 3)
    before, index = 32, 0
    for stage, (repeats, size, _, expansion, channels) in enumerate(STAGES):
        after = _channels(channels, v.width)
        for _ in range(repeats if stage in (0, 6) else math.ceil(repeats * v.depth)):
            name, wide = f"_blocks.{index}", before * expansion
            if expansion != 1:
                conv(f"{name}._expand_conv", f"{name}._bn0", wide, before, 1)
            conv(f"{name}._depthwise_conv", f"{name}._bn1", wide, 1, size)
            conv(f"{name}._project_conv", f"{name}._bn2", after, wide, 1)
            before, index = after, index + 1
    conv("_conv_head", "_bn1", 1280, before, 1)
    return {name: value.astype(np.float32) for name, value in out.items()}


def some_maps(encoders, normalise=True, scale=True):
    r, features = np.random.default_rng(3), 1280 * len(encoders)
    tensors = {
        "visual_fc.0.weight": r.normal(size=(DIM, features)), "visual_fc.0.bias": r.normal(size=DIM),
        "visual_embeddings.0.weight": r.normal(size=(5, features)),
        "visual_embeddings.2.weight": r.normal(size=(TOKENS * HIDDEN, 5)),
        "text_hidden_fcs.0.0.weight": r.normal(size=(DIM, HIDDEN)),
        "ret_input_embedding": r.normal(size=HIDDEN), "ret_output_embedding": r.normal(size=HIDDEN),
        "ret_output_bias": r.normal(size=1),
    }  # fmt: skip
    if scale:
        tensors.update(feature_mean=r.normal(size=features), feature_std=r.uniform(0.5, 2, features))
    config = {"dim": DIM, "num_visual_tokens": TOKENS, "encoders": encoders, "normalize_features": normalise,
              "visual_fc": [["linear"]], "visual_embeddings": [["linear"], ["relu"], ["linear"]],
              "text_hidden_fcs": [["linear"]], "text_emb_layers": [-1]}  # fmt: skip
    return Maps(config, {name: value.astype(np.float32) for name, value in tensors.items()})


def run(encoders, maps, size, pixels):
    session = ort.InferenceSession(vision_graph(encoders, maps, HIDDEN, size).bytes())
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, {"pixel_values": pixels})))


@pytest.mark.parametrize("side,stride,size", [(9, 2, 3), (8, 2, 3), (8, 2, 5), (7, 1, 5), (7, 1, 1)])
def test_convolution_norm_and_same_padding(side, stride, size):
    r = np.random.default_rng(side)
    weights = {"c.weight": r.normal(size=(4, 3, size, size)).astype(np.float32), **random_norm(r, "n", 4)}
    graph = Graph("one")
    x = graph.input("x", FLOAT, [1, 3, side, side])
    encoder = _Encoder(graph, weights, VARIANTS["efficientnet_lite0"])
    encoder.side = side
    graph.output("y", encoder.conv(x, "c", "n", stride), FLOAT, [1, 4, None, None])
    pixels = r.normal(size=(1, 3, side, side)).astype(np.float32)
    (found,) = ort.InferenceSession(graph.bytes()).run(None, {"x": pixels})
    out = math.ceil(side / stride)
    total = max((out - 1) * stride + size - side, 0)
    padded = np.zeros((3, side + total, side + total))
    padded[:, total // 2 : total // 2 + side, total // 2 : total // 2 + side] = pixels[0]
    expected = np.empty((4, out, out))
    for i in range(out):
        for j in range(out):
            window = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
            expected[:, i, j] = (weights["c.weight"] * window).sum((1, 2, 3))
    parts = ("weight", "bias", "running_mean", "running_var")
    gain, shift, mean, var = (weights[f"n.{part}"][:, None, None] for part in parts)
    expected = np.clip((expected - mean) / np.sqrt(var + 1e-3) * gain + shift, 0, 6)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_maps_on_two_encoders_side_by_side():
    names = ["efficientnet_lite0", "efficientnet_lite2"]
    encoders, maps = [(name, checkpoint(name)) for name in names], some_maps(names)
    maps.check(HIDDEN, 1, 2560)
    pixels = np.random.default_rng(1).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    both = run(encoders, maps, 64, pixels)
    alone = run(encoders[1:], some_maps(names[1:]), 64, pixels)
    assert both["features"].shape == (2, 2560)
    np.testing.assert_allclose(both["features"][:, 1280:], alone["features"], atol=1e-5)
    x = (both["features"] - maps.tensors["feature_mean"]) / maps.tensors["feature_std"]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    t = maps.tensors
    retrieval = x @ t["visual_fc.0.weight"].T + t["visual_fc.0.bias"]
    np.testing.assert_allclose(both["retrieval_embedding"], retrieval, atol=1e-5)
    tokens = np.maximum(x @ t["visual_embeddings.0.weight"].T, 0) @ t["visual_embeddings.2.weight"].T
    np.testing.assert_allclose(both["visual_tokens"], tokens.reshape(2, TOKENS, HIDDEN), atol=1e-5)


def test_another_variants_checkpoint_is_refused():
    maps = some_maps(["efficientnet_lite0"])
    with pytest.raises(ValueError, match="another variant"):
        vision_graph([("efficientnet_lite2", checkpoint("efficientnet_lite0"))], maps, HIDDEN, 64)
    short = {name: w for name, w in checkpoint("efficientnet_lite0").items() if name != "_bn1.bias"}
    with pytest.raises(ValueError, match="_bn1.bias"):
        vision_graph([("efficientnet_lite0", short)], maps, HIDDEN, 64)


@pytest.mark.parametrize("name", ["ret_output_bias", "visual_fc.0.weight", "text_hidden_fcs.0.0.weight"])
def test_maps_that_do_not_fit_are_named(name):
    maps = some_maps(["efficientnet_lite0"])
    maps.check(HIDDEN, 1, 1280)
    with pytest.raises(MapsError, match=name):
        Maps(maps.config, {k: v for k, v in maps.tensors.items() if k != name}).check(HIDDEN, 1, 1280)
    with pytest.raises(MapsError):
        maps.check(HIDDEN + 1, 1, 1280)
    with pytest.raises(MapsError):
        maps.check(HIDDEN, 1, 2560)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_the_pytorch_implementation_agrees(variant):
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("efficientnet_lite_pytorch")
    weights, side = checkpoint(variant), VARIANTS[variant].size
    model = theirs.EfficientNet.from_name(variant.replace("_", "-")).eval()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    pixels = np.random.default_rng(1).uniform(-1, 1, (1, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        expected = model.extract_features(torch.from_numpy(pixels)).mean((2, 3)).numpy()
    found = run([(variant, weights)], some_maps([variant]), side, pixels)["features"]
    np.testing.assert_allclose(found, expected, atol=1e-4)

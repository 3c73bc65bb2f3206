"""Goal: the retrieval map alone makes what the vision graph's map makes.

Method: random maps through ONNX Runtime, beside the same arithmetic in NumPy.
"""

import numpy as np
import onnxruntime
import pytest

from fromagerie.export.maps import Maps

FEATURES, DIM = 12, 5


def maps(normalize: bool) -> Maps:
    random = np.random.default_rng(7)

    def draw(*shape):
        return random.standard_normal(shape).astype(np.float32)

    tensors = {
        "visual_fc.0.weight": draw(8, FEATURES), "visual_fc.0.bias": draw(8), "visual_fc.2.weight": draw(DIM, 8),
        "feature_mean": draw(FEATURES), "feature_std": np.abs(draw(FEATURES)) + 1,
    }  # fmt: skip
    return Maps({"dim": DIM, "visual_fc": ["linear", "relu", "linear"], "normalize_features": normalize}, tensors)


@pytest.mark.parametrize("normalize", [False, True])
def test_features_are_mapped_as_by_hand(normalize):
    found = maps(normalize)
    session = onnxruntime.InferenceSession(found.retrieval_graph(FEATURES).bytes())
    features = np.random.default_rng(1).standard_normal((3, FEATURES)).astype(np.float32)
    (mapped,) = session.run(["retrieval_embedding"], {"features": features})
    t = found.tensors
    x = (features - t["feature_mean"]) / t["feature_std"]
    if normalize:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    x = np.maximum(x @ t["visual_fc.0.weight"].T + t["visual_fc.0.bias"], 0) @ t["visual_fc.2.weight"].T
    np.testing.assert_allclose(mapped, x, atol=1e-5)

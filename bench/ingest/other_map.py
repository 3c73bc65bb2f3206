"""A bundle with the same encoder and another retrieval map: the map's output turned by a random rotation, from a seed."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

SEED = 5
CHANGED = ("onnx/vision_encoder.onnx", "onnx/retrieval_map.onnx")


def write(bundle: Path, out: Path) -> None:
    """Writes the bundle to `out`, which does not exist; what is the same is linked."""
    manifest = json.loads((bundle / "fromagerie.json").read_text())
    graphs = {name: onnx.load(str(bundle / name)) for name in CHANGED}
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graphs[CHANGED[1]].graph.initializer}
    dim = manifest["retrieval"]["dim"]
    turn = np.linalg.qr(np.random.default_rng(SEED).standard_normal((dim, dim)))[0].astype(np.float32)
    turned = {array.tobytes(): (array @ turn).astype(np.float32) for array in tensors.values()}
    for name in manifest["files"]:
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name not in graphs:
            os.link((bundle / name).resolve(), target)
            continue
        changed = 0
        for tensor in graphs[name].graph.initializer:
            found = turned.get(numpy_helper.to_array(tensor).tobytes())
            if found is not None:
                tensor.CopyFrom(numpy_helper.from_array(found, tensor.name))
                changed += 1
        assert changed == len(tensors), f"{name} does not hold the map as retrieval_map.onnx has it"
        data = graphs[name].SerializeToString()
        target.write_bytes(data)
        manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (out / "fromagerie.json").write_text(json.dumps(manifest, indent=2))

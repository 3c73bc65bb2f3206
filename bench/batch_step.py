"""What one decoder step costs for 1, 2, 4 and 8 conversations at once, in ONNX Runtime alone.

    python bench/batch_step.py --bundle .cache/demo-bundle --out bench/results/batch_step.json

Keys, values and embeddings are random (seed 0); sizes are by turns in one process, and the medians of seven rounds of two
steps are printed and written.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort

SIZES = (1, 2, 4, 8)


def inputs(session, rows, positions, random):
    """A step of `rows` conversations that have read `positions` each."""
    values = {"attention_mask": np.ones((rows, positions + 1), np.int64), "num_logits_to_keep": np.array(1)}
    for port in session.get_inputs():
        if port.name == "inputs_embeds":
            values[port.name] = 0.1 * random.standard_normal((rows, 1, port.shape[2])).astype(np.float32)
        elif port.name.startswith("past_key_values"):
            _, heads, _, width = port.shape
            values[port.name] = 0.1 * random.standard_normal((rows, heads, positions, width)).astype(np.float32)
    return {name: ort.OrtValue.ortvalue_from_numpy(value) for name, value in values.items()}


def measure(bundle, positions, threads):
    """Milliseconds a step by the number of rows."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    graph = str(bundle / "onnx" / "decoder_model_merged.onnx")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names, random = [port.name for port in session.get_outputs()], np.random.default_rng(0)
    steps = {rows: inputs(session, rows, positions, random) for rows in SIZES}
    times = {rows: [] for rows in SIZES}
    for _ in range(8):
        for rows, step in steps.items():
            begun = time.perf_counter()
            for _ in range(2):
                session.run_with_ort_values(names, step)
            times[rows].append((time.perf_counter() - begun) / 2 * 1e3)
    # The first round warms up.
    return {rows: statistics.median(found[1:]) for rows, found in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, action="append", help="may be given again")
    parser.add_argument("--positions", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {"positions": options.positions, "threads": options.threads, "onnxruntime": ort.__version__, "bundles": {}}
    for bundle in options.bundle:
        name = json.loads((bundle / "fromagerie.json").read_text())["name"]
        times = measure(bundle, options.positions, options.threads)
        found["bundles"][name] = [
            {"rows": rows, "ms": round(ms, 2), "tokens_per_s": round(1e3 * rows / ms, 1), "ratio": round(rows * times[1] / ms, 2)}
            for rows, ms in times.items()
        ]  # fmt: skip
    text = json.dumps(found, indent=1) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()

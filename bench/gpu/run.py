"""A random-weight OPT of a given size on a GPU: ours beside PyTorch with a cache, and what the GPU's memory allows.

    PYTHONPATH=python python bench/gpu/run.py --size 1.3b --device cuda --binary target/release/fromagerie

Makes the model, exports it, and measures the prefill of 64 tokens, tokens a second, and the time from a prompt with a picture to
the query that finds one. Needs no network: see README.md for what must be there. With `--device cpu` it is a dry run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "bench/models")]

import bundles  # noqa: E402
import random_opt  # noqa: E402
import report  # noqa: E402
from run import Bench, machine  # noqa: E402


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=random_opt.SIZES, default="1.3b")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--binary", type=Path, default=Path("target/release/fromagerie"), help="built with --features cuda")
    parser.add_argument("--torch", type=Path, default=Path(sys.executable), help="a Python with PyTorch (default: this one)")
    parser.add_argument("--torch-dtype", default="float16", help="float16 (default) or float32; on a CPU always float32")
    parser.add_argument("--variants", default="fp16,q4", help="of fp32, fp16, int8, q4")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="where models are made")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="JSON")
    arguments = parser.parse_args()
    arguments.binary, arguments.cache = arguments.binary.absolute(), arguments.cache.absolute()
    arguments.ways = "cache"
    if arguments.device == "cpu":
        arguments.torch_dtype = "float32"
    return arguments


def main() -> None:
    arguments = parsed()
    doctor = [str(arguments.binary), "doctor", "--device", arguments.device]
    if subprocess.run(doctor, check=False).returncode != 0:
        raise SystemExit("doctor refuses the device; what it says stands above")
    model = bundles.opt(arguments.cache, arguments.size, tuple(arguments.variants.split(",")))
    found = {"passes": {**Bench(model, arguments).passes(), "machine": machine(arguments), "torch_dtype": arguments.torch_dtype}}
    if arguments.device != "cpu":
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        found["passes"]["machine"]["gpu"] = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    if arguments.out:
        arguments.out.write_text(json.dumps({model.name: found}, indent=1) + "\n")
    print(report.table(model.name, found))
    print(report.floor(found["passes"]))


if __name__ == "__main__":
    main()

"""Searches that may only find some rows, side by side: half, a tenth, a hundredth and a thousandth of them, chosen at random, or
those that lie where the query looks, or those that lie where it does not.

    python3 bench/ann/filters.py --rows 200000 --rivals faiss,qdrant --out bench/results/filters.json

`shelf` (`bench/src/shelf.rs`) is our side, a collection searched in process with a filter on payloads; `filtered_rivals.py` is the
others'. One thread, one query after the other. For each case the fastest setting that finds 95% counts.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import data
import numpy as np

HERE = Path(__file__).resolve().parent
SHARES = {"500": 0.5, "100": 0.1, "10": 0.01, "1": 0.001}  # by rows of a thousand
KINDS = ("random", "near", "far")
QUERIES, K, WANTED = 200, 10, 0.95
OURS = [0.8, 0.9, 0.95, 0.98, 0.99]
THEIRS = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]


def field(kind: str, share: str) -> str:
    """The payload's name: the same rows are near for queries that look there and far for the others."""
    return f"{'random' if kind == 'random' else 'near'}_{share}"


def make(folder: Path, rows: int) -> None:
    """Labels of the rows, and the queries of each kind with their true answers."""
    data.make(folder, rows)
    if (folder / "filters" / "truth.npz").exists():
        return
    out = folder / "filters"
    out.mkdir(exist_ok=True)
    base, queries = np.load(folder / "base.npy"), np.load(folder / "queries_rows.npy")
    rng = np.random.default_rng(data.SEED)
    centre = base[rng.integers(rows)]
    place, luck = np.argsort(np.argsort(-(base @ centre))), rng.permutation(rows)
    names = [field(kind, share) for kind in ("random", "near") for share in SHARES]
    labels = np.stack([order < rows * share for order in (luck, place) for share in SHARES.values()], 1)
    np.save(out / "labels.npy", labels.astype(np.float32))
    (out / "labels.json").write_text(json.dumps(names))
    looking = np.argsort(-(queries @ centre))
    chosen = {"random": np.arange(QUERIES), "near": looking[:QUERIES], "far": looking[-QUERIES:]}
    truth = {}
    for kind, numbers in chosen.items():
        np.save(out / f"{kind}.npy", queries[numbers])
        scores = queries[numbers] @ base.T
        for share in SHARES:
            seen = np.where(labels[:, names.index(field(kind, share))], scores, -np.inf)
            best = np.argpartition(-seen, K, axis=1)[:, :K]
            truth[f"{kind}_{share}"] = best.astype(np.int32)
    np.savez(out / "truth.npz", **truth)


class Served:
    """A process that answers by the line protocol."""

    def __init__(self, command: list[str], index: Path, folder: Path) -> None:
        if not index.exists():
            subprocess.run([*command, "build", str(folder / "base.npy"), str(folder / "filters/labels.npy"), str(index)], check=True)
        self.process = subprocess.Popen([*command, "serve", str(index)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self.out = folder / "filters" / "answers.bin"

    def ask(self, **question) -> tuple[np.ndarray, dict]:
        print(json.dumps({**question, "out": str(self.out)}), file=self.process.stdin, flush=True)
        told = json.loads(self.process.stdout.readline())
        return np.fromfile(self.out, np.int32).reshape(-1, K), told

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def measured(served: Served, name: str, folder: Path) -> dict:
    """By case: every setting's recall and rate, and the fastest that finds enough."""
    found, truth = {}, np.load(folder / "filters" / "truth.npz")
    settings = OURS if name == "fromagerie" else THEIRS
    # The first answers bring files into memory, and check them.
    served.ask(queries=str(folder / "filters/random.npy"), k=K, field=field("random", "500"), recall=settings[-1])
    for kind in KINDS:
        for share in SHARES:
            points = []
            for setting in settings:
                asked = {"queries": str(folder / f"filters/{kind}.npy"), "k": K, "field": field(kind, share), "recall": setting}
                ids, told = served.ask(**asked)
                right = (ids[:, :, None] == truth[f"{kind}_{share}"][:, None, :]).any(1).mean()
                points.append({"setting": setting, "recall": float(right), "qps": len(ids) / told["wall_s"], "p99_us": told["p99_us"]})
                if right >= 0.995:
                    break
            enough = [point for point in points if point["recall"] >= WANTED]
            best = max(enough, key=lambda point: point["qps"]) if enough else None
            found[f"{kind}_{share}"] = {"best": best, "points": points}
            print(f"{name:<16}{kind:>8}, {SHARES[share]:.1%}:", f"{best['qps']:.0f}/s at {best['recall']:.3f}" if best else "never .95", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rivals", default="", help="of faiss, faiss-ivf, qdrant, qdrant-acorn")
    parser.add_argument("--only-rivals", action="store_true", help="leave ours out")
    parser.add_argument("--shelf", type=Path, default=Path("target/release/shelf"))
    parser.add_argument("--data", type=Path, default=Path(".cache/ann"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    folder = (args.data / str(args.rows)).resolve()
    make(folder, args.rows)
    ways = {} if args.only_rivals else {"fromagerie": [str(args.shelf.resolve())]}
    ways |= {name: [sys.executable, str(HERE / "filtered_rivals.py"), name] for name in args.rivals.split(",") if name}
    # What is not measured now stays.
    results = json.loads(args.out.read_text())["results"] if args.out and args.out.exists() else {}
    for name, command in ways.items():
        # Both ways of qdrant read one index.
        index = folder / "filters" / name.removesuffix("-acorn")
        served = Served(command, index, folder)
        results[name] = measured(served, name, folder)
        served.close()
        write(args, results)


def write(args: argparse.Namespace, results: dict) -> None:
    """What was measured so far."""
    about = {"rows": args.rows, "dim": data.DIM, "seed": data.SEED, "k": K, "queries": QUERIES, "wanted": WANTED, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    if args.out:
        args.out.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()

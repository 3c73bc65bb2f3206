"""Compares what ingest costs, in one run, part by part; rivals take turns with ours.

`python run.py --binary target/release/ingest_cost --bundle .cache/demo-bundle --pictures .cache/bench-photos --parts decode`
measures the named parts and puts them into `--out`, where other parts stay as they are. The Python that runs it has what
`requirements.txt` names, and clip-retrieval. `table.py` makes the tables.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import other_map
import pictures

HERE = Path(__file__).parent
DIM = 256


class Runner:
    """Starts one step in a process of its own, with a fresh folder for what it makes."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments, self.folder = arguments, folder

    def ours(self, step: str, *options: object) -> dict:
        return self.told([str(self.arguments.binary.absolute()), step, *map(str, options)])

    def rival(self, step: str, *options: object) -> dict:
        return self.told([sys.executable, str(HERE / "rivals.py"), step, *map(str, options)])

    def told(self, command: list) -> dict:
        command = [text.replace("{new}", str(self.folder / "new")) for text in command]
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        done = subprocess.run(command, capture_output=True, text=True)
        shutil.rmtree(self.folder / "new", ignore_errors=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr[-3000:]}")
        return json.loads(done.stdout.strip().splitlines()[-1])


def rounds(count: int, ways: dict) -> dict:
    """Each way `count` times, in turn; every result, and the median of its rates."""
    found = {name: [] for name in ways}
    for _ in range(count):
        for name, way in ways.items():
            found[name].append(way())
            print(
                name,
                {key: found[name][-1][key] for key in ("pictures", "rows", "seconds") if key in found[name][-1]},
                flush=True,
            )

    def rate(one: dict) -> float:
        return one.get("pictures", one.get("rows")) / one["seconds"]

    return {
        name: {"rate": median(map(rate, runs)), "rates": [rate(one) for one in runs], "last": runs[-1]}
        for name, runs in found.items()
    }


def decode(runner: Runner) -> dict:
    arguments = runner.arguments
    where = ["--pictures", arguments.pictures, "--bundle", arguments.bundle]
    ways = {
        "fromagerie": lambda: runner.ours("decode", *where, "--threads", 2),
        "pillow": lambda: runner.rival("decode", *where),
        "pillow_draft": lambda: runner.rival("decode", *where, "--draft"),
    }
    return rounds(arguments.rounds, ways)


def some(arguments: argparse.Namespace, folder: Path) -> Path:
    """A folder with the first pictures alone, where fewer are asked for."""
    chosen = folder / "some"
    if not chosen.exists():
        chosen.mkdir()
        for path in sorted(arguments.pictures.iterdir())[: arguments.job_pictures]:
            os.link(path.resolve(), chosen / path.name)
    return chosen


def job(runner: Runner) -> dict:
    arguments = runner.arguments
    where = ["--pictures", some(arguments, runner.folder), "--bundle", arguments.bundle]
    ways = {
        "decode": lambda: runner.ours("decode", *where),
        "encode": lambda: runner.ours("encode", *where, "--rows", 256),
        "fromagerie": lambda: runner.ours("job", *where, "--db", "{new}"),
        "fromagerie_thumbnails": lambda: runner.ours("job", *where, "--db", "{new}", "--thumbnails", "jpeg"),
        "torch_encode": lambda: runner.rival("encode", *where, "--rows", 256),
        "torch": lambda: runner.rival("job", *where, "--out", "{new}"),
        "torch_onnx": lambda: runner.rival("job", *where, "--out", "{new}", "--encoder", "onnx"),
        "clip_retrieval": lambda: runner.rival("clip-retrieval", *where, "--out", "{new}"),
    }
    found = rounds(arguments.rounds, ways)
    ours, theirs = (found[name]["last"].pop("first") for name in ("fromagerie", "torch"))
    apart = max(float(np.abs(np.array(ours[key]) - np.array(theirs[key])).max()) for key in theirs)
    cosine = min(float(np.dot(ours[key], theirs[key])) for key in theirs)
    for name in ("fromagerie_thumbnails", "torch_onnx"):
        found[name]["last"].pop("first")
    return {**found, "vectors": {"apart_max": apart, "cosine_min": cosine}}


def vectors(folder: Path, rows: int, name: str) -> Path:
    """`[rows, DIM]` unit vectors in a `.npy`, and the same in a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    path = folder / f"{name}.npy"
    if not path.exists():
        sys.path.insert(0, str(HERE.parent / "ann"))
        import data

        matrix = data.world(rows).images(rows)
        np.save(path, matrix)
        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(matrix.reshape(-1)), DIM)
        keys = pyarrow.array([f"item-{row:08}" for row in range(rows)])
        table = pyarrow.Table.from_arrays([keys, column], names=["key", "vector"])
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet", row_group_size=65_536, use_dictionary=False)
    return path


def disk(folder: Path, size: int) -> float:
    """Bytes per second that a file of `size` bytes is written with, and synced, from memory that is there."""
    block, path = os.urandom(4 << 20), folder / "disk"
    begun = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(size // len(block)):
            file.write(block)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    path.unlink()
    return size // len(block) * len(block) / seconds


def load(runner: Runner) -> dict:
    arguments = runner.arguments
    rows = arguments.rows
    npy = vectors(runner.folder, rows, "load")
    size = rows * DIM * 4

    def at_disk_speed() -> dict:
        return {"rows": rows, "seconds": size / disk(runner.folder, size)}

    def others(engine: str, most: int):
        return lambda: runner.rival(
            "load", "--engine", engine, "--file", npy, "--out", "{new}", "--rows", min(rows, most)
        )

    ways = {
        "disk": at_disk_speed,
        "npy": lambda: runner.ours("load", "--file", npy, "--db", "{new}"),
        "parquet": lambda: runner.ours("load", "--file", npy.with_suffix(".parquet"), "--db", "{new}"),
        "lancedb": others("lancedb", rows),
        "qdrant-edge": others("qdrant-edge", arguments.qdrant_rows),
    }
    found = rounds(arguments.rounds, ways)
    for name in ("npy", "parquet"):
        found[name]["last"]["memory"] = found[name]["last"]["memory"][-1:]
    return found


def memory(runner: Runner) -> dict:
    """100,000 vectors, and pictures with thumbnails, each looked at as it grows."""
    npy = vectors(runner.folder, 100_000, "items")
    told = runner.ours("load", "--file", npy, "--db", "{new}", "--index", "graph", "--look-every", 1000)
    return {"vectors": told}


def reindex(runner: Runner) -> dict:
    npy = vectors(runner.folder, 100_000, "items")
    return runner.ours("reindex", "--file", npy, "--db", "{new}")


def merge(runner: Runner) -> dict:
    """A million vectors, whose segments become one while searches run."""
    npy = vectors(runner.folder, runner.arguments.rows, "items")
    return runner.ours("merge", "--file", npy, "--db", "{new}")


def maps(runner: Runner) -> dict:
    arguments = runner.arguments
    new_bundle = runner.folder / "other-map"
    shutil.rmtree(new_bundle, ignore_errors=True)
    other_map.write(arguments.bundle, new_bundle)
    where = ["--pictures", some(arguments, runner.folder), "--bundle", arguments.bundle]
    return runner.ours("maps", *where, "--new-bundle", new_bundle, "--db", "{new}")


PARTS = {"decode": decode, "job": job, "load": load, "memory": memory, "merge": merge, "reindex": reindex, "maps": maps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="made when it is not there")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="where databases are made: a real disk")
    parser.add_argument("--count", type=int, default=2000, help="pictures that are decoded")
    parser.add_argument("--job-pictures", type=int, default=2000, help="pictures of the whole job")
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors that are loaded")
    parser.add_argument("--qdrant-rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    pictures.make(arguments.pictures, arguments.count)
    figures = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for part in arguments.parts:
            before = os.getloadavg()[0]
            measured = PARTS[part](Runner(arguments, Path(folder)))
            machine = {
                "cpus": os.cpu_count(),
                "kernel": platform.release(),
                "load_before": before,
                "load": os.getloadavg()[0],
            }
            figures[part] = {"machine": machine, **measured}
            arguments.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

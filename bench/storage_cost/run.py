"""Compares what storage costs, in one run: ours, LanceDB, qdrant-edge, milvus-lite.

`python run.py --binary target/release/storage_cost --out bench/results/storage_cost.json` writes the figures and, beside
them, a table. The Python that runs it has the engines of `requirements.txt`; `strace` counts the syncs.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import files

SYNCS = ["fsync", "fdatasync", "sync_file_range", "msync", "syncfs"]
PEERS = ["lancedb", "qdrant-edge", "milvus-lite"]
PACKAGES = {"lancedb": "lancedb", "qdrant-edge": "qdrant-edge-py", "milvus-lite": "milvus-lite"}
DIM = 256


class Runner:
    """Starts one step of one engine over a fresh folder."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self.binary, self.folder = binary, folder

    def step(self, engine: str, step: str, before: list[str] = [], **options: int) -> dict:
        db = self.folder / "db"
        shutil.rmtree(db, ignore_errors=True)
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        if engine == "fromagerie":
            command = [str(self.binary), "--db", str(db), "--dim", str(DIM), step, *arguments]
        else:
            peers = str(Path(__file__).with_name("peers.py"))
            command = [sys.executable, peers, engine, step, "--db", str(db), "--dim", str(DIM), *arguments]
        done = subprocess.run([*before, *command], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{engine} {step}: {done.stderr[-2000:]}")
        told = json.loads(done.stdout.strip().splitlines()[-1])
        return {**told, "disk_bytes": files.on_disk(db)}

    def syncs(self, engine: str, rows: int) -> dict[str, int]:
        log = self.folder / "strace.txt"
        strace = ["strace", "-f", "-qq", "-c", "-o", str(log), "-e", "trace=" + ",".join(SYNCS)]
        self.step(engine, "single", strace, rows=rows, writers=1)
        words = [line.split() for line in log.read_text().splitlines()]
        return {line[-1]: int(line[3]) for line in words if line and line[-1] in SYNCS}


def measure(runner: Runner, engine: str, scale: float) -> dict:
    rows = 2000 if engine == "fromagerie" else 200
    few, many = runner.syncs(engine, 10), runner.syncs(engine, 60)
    syncs = {name: (many.get(name, 0) - few.get(name, 0)) / 50 for name in many}
    bulk = runner.step(engine, "bulk", rows=int(50_000 * scale), batch=1000)
    found = {"syncs_a_write": syncs, "bulk": bulk}
    if engine == "fromagerie":
        found["bytes_by_part"] = files.by_part(runner.folder / "db")
    found["single"] = [
        runner.step(engine, "single", rows=max(writers, int(rows * scale)), writers=writers) for writers in (1, 8, 64)
    ]
    return found


def table(figures: dict) -> str:
    lines = [
        "| | bulk rows/s | single durable rows/s, 1 / 8 / 64 writers | syncs a write | bytes written a byte of vector "
        "(bulk) | bytes a row on disk |",
        "|---|---|---|---|---|---|",
    ]
    for engine, found in figures["engines"].items():
        bulk, single = found["bulk"], found["single"]
        rates = " / ".join(f"{one['rows'] / one['seconds']:.0f}" for one in single)
        syncs = ", ".join(f"{count:.1f} {name}" for name, count in found["syncs_a_write"].items() if count > 0) or "none"
        raw = bulk["rows"] * DIM * 4
        lines.append(
            f"| {engine} {figures['versions'][engine]} | {bulk['rows'] / bulk['seconds']:.0f} | {rates} | {syncs} "
            f"| {bulk['written_bytes'] / raw:.2f} | {bulk['disk_bytes'] / bulk['rows']:.0f} |"
        )
    ours = figures["engines"]["fromagerie"]
    lines += ["", "| part | bytes a row |", "|---|---|"]
    for name, count in ours["bytes_by_part"].items():
        lines.append(f"| {name} | {count / ours['bulk']['rows']:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="where the databases are made: a real disk")
    parser.add_argument("--scale", type=float, default=1.0, help="of the rows")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        runner = Runner(arguments.binary.absolute(), Path(folder))
        engines = {engine: measure(runner, engine, arguments.scale) for engine in ["fromagerie", *PEERS]}
    figures = {
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "load_before": load, "load": os.getloadavg()[0]},
        "dim": DIM,
        "versions": {"fromagerie": "this", **{engine: version(PACKAGES[engine]) for engine in PEERS}},
        "engines": engines,
    }
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    arguments.out.with_suffix(".md").write_text(table(figures))
    print(table(figures))


if __name__ == "__main__":
    main()

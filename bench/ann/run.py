"""Vector search side by side: builds and serves each engine as a process of its own, by one line protocol.

    python3 bench/ann/run.py --rows 200000 --rivals hnswlib,svs --out bench/results/ann

`contender build BASE DIR THREADS PARAMS` and `contender serve DIR PARAMS` are our side (`bench/src/contender`), and
`rivals.py` is the others'. Recall is measured here, against exact answers. Times are also given as processor time, which
is steadier where other work shares the machine. `report.py` makes a table and a plot of what this writes.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import data
import numpy as np
import report

HERE = Path(__file__).resolve().parent
GRID = [4, 6, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768]
K = 10
RECALL_ENOUGH = 0.995


@dataclass
class Engine:
    """How an engine is started."""

    name: str
    command: list[str]
    params: dict


def engines(contender: Path, rivals: list[str], folder: Path) -> list[Engine]:
    ours = [
        Engine("fromagerie", [str(contender)], {}),
        Engine("fromagerie, trained", [str(contender)], {"train": str(folder / "train.npy")}),
    ]
    return ours + [Engine(name, [sys.executable, str(HERE / "rivals.py"), name], {}) for name in rivals]


def build(engine: Engine, base: Path, folder: Path) -> dict:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [*engine.command, "build", str(base), str(folder), "2", json.dumps(engine.params)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    built = json.loads(out.strip().splitlines()[-1])
    built["cpu_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    built["disk_mb"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
    return built


class Served:
    """A serving process."""

    def __init__(self, engine: Engine, folder: Path):
        command = [*engine.command, "serve", str(folder), json.dumps(engine.params)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.out = folder / "answers.bin"
        self.load_s = json.loads(self.process.stdout.readline())["load_s"]

    def ask(self, queries: Path, count: int, param: int, threads: int, mode: str) -> tuple[np.ndarray, dict]:
        ask = {"queries": str(queries), "n": count, "k": K, "param": param, "threads": threads, "mode": mode}
        before = self.cpu_s()
        print(json.dumps({**ask, "out": str(self.out)}), file=self.process.stdin, flush=True)
        answer = json.loads(self.process.stdout.readline())
        answer["cpu_s"] = self.cpu_s() - before
        return np.fromfile(self.out, np.int32).reshape(-1, K), answer

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1000

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def recall(ids: np.ndarray, truth: np.ndarray) -> float:
    return float((ids[:, :, None] == truth[: len(ids), None, :K]).any(1).mean())


def curve(served: Served, folder: Path, kind: str, count: int) -> list[dict]:
    queries, truth = folder / f"queries_{kind}.npy", np.load(folder / f"truth_{kind}.npy")
    served.ask(queries, count, GRID[0], 2, "batch")
    points = []
    for param in GRID:
        point = {"param": param}
        for threads in (2, 1):
            ids, answer = served.ask(queries, count, param, threads, "batch")
            point[f"qps{threads}"] = len(ids) / answer["wall_s"]
        point |= {"recall": recall(ids, truth), "cpu_us": 1e6 * answer["cpu_s"] / len(ids), "ndis": answer.get("ndis")}
        _, answer = served.ask(queries, count // 4, param, 1, "latency")
        point |= {"p50_us": answer["p50_us"], "p99_us": answer["p99_us"]}
        points.append(point)
        if point["recall"] >= RECALL_ENOUGH:
            break
    return points


def run(engine: Engine, folder: Path, count: int) -> dict:
    index = folder / "index" / engine.name.replace(", ", "-")
    result = {"engine": engine.name, "build": build(engine, folder / "base.npy", index)}
    served = Served(engine, index)
    result["curves"] = {kind: curve(served, folder, kind, count) for kind in ("rows", "text")}
    result |= {"rss_mb": served.rss_mb(), "open_s": served.load_s}
    served.close()
    shutil.rmtree(index)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rivals", default="", help="of hnswlib, svs, faiss-hnsw, faiss-ivfpq")
    parser.add_argument("--contender", type=Path, default=Path("target/release/contender"))
    parser.add_argument("--data", type=Path, default=Path(".cache/ann"))
    parser.add_argument("--out", type=Path, help="where results, table and plot go; nowhere when left out")
    args = parser.parse_args()
    folder = (args.data / str(args.rows)).resolve()
    data.make(folder, args.rows)
    results = []
    for engine in engines(args.contender.resolve(), [name for name in args.rivals.split(",") if name], folder):
        try:
            results.append(run(engine, folder, data.QUERIES))
        except (subprocess.CalledProcessError, json.JSONDecodeError) as error:
            print(f"{engine.name} did not run: {error}", file=sys.stderr)
    rows, dim = np.load(folder / "base.npy", mmap_mode="r").shape
    about = {"rows": rows, "dim": dim, "seed": data.SEED, "machine": platform.processor() or platform.machine()}
    about["cpus"] = os.cpu_count()
    print(report.table(results))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"{args.rows}.json").write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")
        for kind in ("rows", "text"):
            (args.out / f"{args.rows}-{kind}.svg").write_text(report.plot(results, kind))


if __name__ == "__main__":
    main()

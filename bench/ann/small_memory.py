"""Search in less memory than the collection has bytes, side by side: each engine serves in a control group that holds all its
memory, the pages of its files included, to a quarter of the vectors' bytes.

    python3 bench/ann/small_memory.py --rows 1000000 --rivals faiss,lancedb --out bench/results/small_memory.json

With a share that is no limit it says what recall an answer has for the recall asked for: `--share 20 --queries 1500`.

`shelf` is our side: a collection as anybody has it. faiss maps an inverted file of 8-bit codes; LanceDB has its IVF-PQ, re-scored.
Needs root: files' pages are dropped before each engine begins, so that they count as its own. One thread.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import data
import numpy as np
from filtered_rivals import serve

K = 10
GROUP = Path("/sys/fs/cgroup/memory/fromagerie-bench")
OURS = [0.8, 0.9, 0.95, 0.99]
THEIRS = [4, 8, 16, 32, 64, 128, 256]


class Faiss:
    """An inverted file of 8-bit codes, 4 sqrt(rows) lists, mapped."""

    def build(self, base, folder):
        import faiss

        index = faiss.index_factory(base.shape[1], f"IVF{int(4 * len(base) ** 0.5)},SQ8", faiss.METRIC_INNER_PRODUCT)
        index.train(base[np.random.default_rng(0).permutation(len(base))[:200_000]])
        index.add(base)
        faiss.write_index(index, str(folder / "index.faiss"))

    def open(self, folder, names):
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.index = faiss, faiss.read_index(str(folder / "index.faiss"), faiss.IO_FLAG_MMAP_IFC)

    def search(self, vector, k, setting, field):
        return self.index.search(vector[None], k, params=self.faiss.SearchParametersIVF(nprobe=setting))[1][0]


class LanceDb:
    """IVF-PQ with 64 bytes a row; ten times the hits are read and scored exactly."""

    def build(self, base, folder):
        import lancedb
        import pyarrow

        column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(base.reshape(-1)), base.shape[1])
        rows = pyarrow.Table.from_arrays([pyarrow.array(np.arange(len(base))), column], names=["id", "vector"])
        table = lancedb.connect(str(folder)).create_table("rows", rows)
        table.create_index(metric="dot", index_type="IVF_PQ", num_partitions=1000, num_sub_vectors=64)

    def open(self, folder, names):
        import lancedb

        self.table = lancedb.connect(str(folder)).open_table("rows")

    def search(self, vector, k, setting, field):
        asked = self.table.search(vector).distance_type("dot").nprobes(setting).refine_factor(10).select(["id", "_distance"]).limit(k)
        return asked.to_arrow()["id"].to_numpy()


RIVALS = {"faiss": Faiss, "lancedb": LanceDb}


def limited(command: list[str], limit: int) -> subprocess.Popen:
    """The process, in a control group of its own of so many bytes, with no file's pages in memory."""
    if GROUP.exists():
        GROUP.rmdir()
    GROUP.mkdir()
    (GROUP / "memory.limit_in_bytes").write_text(str(limit))
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")
    enter = f"echo $$ > {GROUP}/cgroup.procs; exec \"$@\""
    return subprocess.Popen(["bash", "-c", enter, "bash", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen, name: str, limit: int) -> dict:
    """The next line that a serving process says."""
    line = process.stdout.readline()
    if not line:
        code = process.wait()
        GROUP.rmdir()
        raise SystemExit(f"{name} ended with {code} in its {limit:,} bytes of memory: give more with --share, or more --rows")
    return json.loads(line)


def measured(name: str, command: list[str], folder: Path, limit: int, count: int) -> dict:
    process = limited(command, limit)
    told(process, name, limit)
    found = {"points": {}}
    for kind in ("rows", "text"):
        truth = np.load(folder / f"truth_{kind}.npy")[:count, :K]
        points = []
        for setting in OURS if name == "fromagerie" else THEIRS:
            out = folder / "small" / "answers.bin"
            for queries in (f"{kind}_warm", kind):  # others first, which bring in what the limit has room for
                asked = {"queries": str(folder / f"small/{queries}.npy"), "k": K, "recall": setting, "out": str(out)}
                print(json.dumps(asked), file=process.stdin, flush=True)
                answer = told(process, name, limit)
            ids = np.fromfile(out, np.int32).reshape(-1, K)
            right = float((ids[:, :, None] == truth[:, None, :]).any(1).mean())
            points.append({"setting": setting, "recall": right, "qps": len(ids) / answer["wall_s"], "p99_us": answer["p99_us"]})
            print(f"{name:<12}{kind:<6}{setting:>6}: {points[-1]['qps']:8.0f}/s at {right:.3f}, p99 {answer['p99_us'] / 1000:.1f} ms", flush=True)
            if right >= 0.99 and name != "fromagerie":
                break
        found["points"][kind] = points
    found["memory_peak"] = int((GROUP / "memory.max_usage_in_bytes").read_text())
    process.stdin.close()
    process.wait()
    GROUP.rmdir()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rivals", default="", help="of " + ", ".join(RIVALS))
    parser.add_argument("--share", type=float, default=0.25, help="of the vectors' bytes that may be in memory")
    parser.add_argument("--queries", type=int, default=300, help="of each kind that are measured; the others of 2,000 go before")
    parser.add_argument("--shelf", type=Path, default=Path("target/release/shelf"))
    parser.add_argument("--data", type=Path, default=Path(".cache/ann"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rivals = [name for name in args.rivals.split(",") if name]
    if unknown := set(rivals) - set(RIVALS):
        parser.error(f"--rivals: {', '.join(sorted(unknown))} is not known; there are {', '.join(RIVALS)}")
    if os.geteuid() != 0 or not GROUP.parent.is_dir():
        parser.error(f"this needs root, and the memory controller of control groups (version 1) at {GROUP.parent}")
    folder = (args.data / str(args.rows)).resolve()
    data.make(folder, args.rows)
    (folder / "small").mkdir(exist_ok=True)
    for kind in ("rows", "text"):
        queries = np.load(folder / f"queries_{kind}.npy")
        np.save(folder / f"small/{kind}.npy", queries[: args.queries])
        np.save(folder / f"small/{kind}_warm.npy", queries[args.queries :])
    np.save(folder / "small/labels.npy", np.zeros((args.rows, 1), np.float32))
    (folder / "small/labels.json").write_text('["none"]')
    limit, results = int(args.share * args.rows * data.DIM * 4), {}
    for name in ["fromagerie", *rivals]:
        index = folder / "small" / name
        if name == "fromagerie":
            command = [str(args.shelf.resolve())]
            if not index.exists():
                subprocess.run([*command, "build", str(folder / "base.npy"), str(folder / "small/labels.npy"), str(index)], check=True)
        else:
            command = [sys.executable, str(Path(__file__).resolve()), name]
            if not index.exists():
                index.mkdir()
                subprocess.run([*command, "build", str(folder / "base.npy"), str(index)], check=True)
        on_disk = sum(file.stat().st_size for file in index.rglob("*") if file.is_file())
        results[name] = {"disk_bytes": on_disk, **measured(name, [*command, "serve", str(index)], folder, limit, args.queries)}
    about = {"rows": args.rows, "dim": data.DIM, "seed": data.SEED, "k": K, "queries": args.queries, "limit_bytes": limit, "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    if args.out:
        args.out.write_text(json.dumps({"about": about, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] in RIVALS:
        chosen, verb, *rest = RIVALS[sys.argv[1]](), *sys.argv[2:]
        if verb == "build":
            chosen.build(np.load(rest[0], mmap_mode="r")[:], Path(rest[1]))
        else:
            serve(chosen, Path(rest[0]))
    else:
        main()

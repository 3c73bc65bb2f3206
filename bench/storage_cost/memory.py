"""Opens and serves a large collection in little memory, and counts what is touched.

`python memory.py --binary target/release/storage_cost --out bench/results/storage_memory.json` loads a million rows, then,
with every process limited to 256 MiB of data (`RLIMIT_DATA`: anonymous and private writable memory), drops the files from
the page cache, opens the database, counts which of its bytes that brought back (`fincore`), and searches it exactly.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
from pathlib import Path

import files

LIMIT = 256 << 20
OPENS = 7


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


def step(binary: Path, db: Path, *arguments: str) -> dict:
    command = [str(binary.absolute()), "--db", str(db), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=limited)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def regular(db: Path) -> list[Path]:
    return [path for path in sorted(db.rglob("*")) if path.is_file()]


def forget(db: Path) -> None:
    """Drops the files from the page cache."""
    for path in regular(db):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def resident(db: Path) -> int:
    """Bytes of the files that are in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", *map(str, regular(db))]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return sum(map(int, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="where the database is made: a real disk")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        db = Path(folder) / "db"
        loaded = step(arguments.binary, db, "bulk", "--rows", str(arguments.rows))
        opens = []
        for _ in range(OPENS):
            forget(db)
            before = resident(db)
            opened = step(arguments.binary, db, "serve", "--queries", "0")
            opens.append({"open_ms": opened["open_ms"], "touched_bytes": resident(db) - before, "before": before})
        served = step(arguments.binary, db, "serve", "--queries", str(arguments.queries))
        total = sum(path.stat().st_size for path in regular(db))
    figures = {
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "load": os.getloadavg()[0]},
        "limit_bytes": LIMIT,
        "database_bytes": total,
        "load": loaded,
        "opens": opens,
        "touched_share": max(one["touched_bytes"] for one in opens) / total,
        "open_ms_median": sorted(one["open_ms"] for one in opens)[OPENS // 2],
        "open_ms_max": max(one["open_ms"] for one in opens),
        "serve": served,
    }
    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps({name: figures[name] for name in ("touched_share", "open_ms_median", "open_ms_max")}))


if __name__ == "__main__":
    main()

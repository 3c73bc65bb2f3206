"""Goal: shards that Ray or Spark embed on two workers are byte for byte those of one process, also when a worker dies.

Method: small tar shards, the fixture bundle, the drivers' command lines; a `fromagerie` that kills the worker that first
asks for a certain shard. Needs `ray` or `pyspark` (and Java), and the server's binary; each is skipped without.
"""

import importlib.util
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("FROMAGERIE_BINARY", ROOT / "target" / "debug" / "fromagerie"))
BUNDLE = ROOT / "engine" / "models" / "tests" / "fixtures" / "tiny_bundle"
DRIVERS = {"ray_data": ["ray"], "spark": ["pyspark", "java"]}


def png(red, green, blue, side=8):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((red, green, blue)) * side) * side
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def shard(path, number, pictures=20):
    with tarfile.open(path, "w") as tar:
        for n in range(pictures):
            name = f"{number:02d}{n:03d}"
            for end, data in ((".png", png(40 * number, 12 * n, 99)), (".txt", f"picture {name}".encode())):
                info = tarfile.TarInfo(name + end)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(params=sorted(DRIVERS))
def driver(request):
    for need in DRIVERS[request.param]:
        if importlib.util.find_spec(need) is None and shutil.which(need) is None:
            pytest.skip(f"{need} is not here")
    if not BINARY.exists():
        pytest.skip(f"{BINARY} is not built")
    return request.param


def spread(driver, binary, out, shards):
    command = [sys.executable, "-m", f"fromagerie.embed.{driver}", "--bundle", BUNDLE, "--out", out, "--workers", "2"]
    environ = dict(os.environ, PYTHONPATH=str(ROOT / "python"), PYSPARK_PYTHON=sys.executable)
    done = subprocess.run(
        list(map(str, [*command, "--binary", binary, "--with-features", *shards])),
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return {path.name: path.read_bytes() for path in sorted(Path(out).glob("*.parquet"))}


def test_as_one_process_would_also_when_a_worker_dies(driver, tmp_path):
    shards = [shard(tmp_path / f"{number:05d}.tar", number) for number in range(4)]
    want = {}
    for number, source in enumerate(shards):
        table = tmp_path / f"{number:05d}-00000.parquet"
        embed = [BINARY, "embed", "--bundle", BUNDLE, "--with-features", "--out", table, source]
        subprocess.run(list(map(str, embed)), check=True, capture_output=True)
        want[table.name] = table.read_bytes()
    assert spread(driver, BINARY, tmp_path / "calm", shards) == want

    killed = tmp_path / "killed"
    murderer = tmp_path / "fromagerie"
    murderer.write_text(
        f'#!/bin/sh\ncase "$*" in *00002.tar*) [ -e {killed} ] || {{ touch {killed}; kill -9 $PPID; exit 9; }};; esac\n'
        f'exec {BINARY} "$@"\n'
    )
    murderer.chmod(0o755)
    assert spread(driver, murderer, tmp_path / "killed-once", shards) == want
    assert killed.exists()

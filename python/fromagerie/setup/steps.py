"""What each verb needs: the library, the wheels, the Python environment, the pictures, the bundle.

Each step leaves a stamp (a digest of what it was made from), so that a second run costs a few reads and a changed
lock, source or map runs exactly the steps that depend on it.

Read next: `fetch.py` (downloads), `openmoji.py` (pictures), `fromagerie/export/demo.py` (the bundle).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, List

from .fetch import Say, SetupError, fetch, find_pip, read_lock, sha256

PACKAGE = Path(__file__).resolve().parents[1]
PYTHON_ROOT = PACKAGE.parent
LOCKS = PYTHON_ROOT / "requirements"
MAPS = PACKAGE / "demo" / "maps.safetensors"
LIBRARY = {"Linux": "libonnxruntime.so", "Darwin": "libonnxruntime.dylib"}


@dataclass(frozen=True)
class Cache:
    """Where everything goes: `.cache` in the repository unless told otherwise."""

    root: Path
    say: Say

    @property
    def wheels(self) -> Path:
        """Downloaded wheels, as they came."""
        return self.root / "wheels"

    @property
    def python(self) -> Path:
        """The interpreter of the environment that makes the demo."""
        return self.root / "venv" / "bin" / "python"

    @property
    def images(self) -> Path:
        """Demo pictures, their captions and licence."""
        return self.root / "demo-images"

    @property
    def bundle(self) -> Path:
        """The demo model."""
        return self.root / "demo-bundle"


def _stamp(paths: Iterable[Path], *words: str) -> str:
    """A digest of the files' bytes and some words."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    digest.update("\0".join(words).encode())
    return digest.hexdigest()


def _fresh(stamp_file: Path, stamp: str) -> bool:
    return stamp_file.is_file() and stamp_file.read_text().strip() == stamp


def fetch_lock(cache: Cache, name: str) -> List[Path]:
    """All wheels of a lock file, downloaded when missing. A stamp with sizes and times spares the hashing."""
    lock = LOCKS / name
    stamp_file = cache.wheels / f".{name}.stamp"
    pins = read_lock(lock)

    def state() -> str:
        found = [path for pin in pins for path in sorted(cache.wheels.glob(f"{pin.prefix}*.whl"))]
        words = [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in found]
        return _stamp([lock], platform.system(), platform.machine(), *words)

    if _fresh(stamp_file, state()):
        return [path for pin in pins for path in sorted(cache.wheels.glob(f"{pin.prefix}*.whl"))]
    found: List[List[str]] = []

    def pip() -> List[str]:
        if not found:
            found.append(find_pip(cache.root))
        return found[0]

    wheels = [fetch(cache.wheels, pin, pip, cache.say) for pin in pins]
    total = sum(path.stat().st_size for path in wheels)
    cache.say(f"{name}: {len(wheels)} wheels, {total / 1e6:.1f} MB")
    stamp_file.write_text(state())
    return wheels


def onnxruntime(cache: Cache) -> Path:
    """`.cache/onnxruntime/libonnxruntime.so`, out of the pinned wheel, with its sha-256 beside it."""
    place = cache.root / "onnxruntime"
    library = place / LIBRARY.get(platform.system(), "libonnxruntime.so")
    digest_file, stamp_file = place / f"{library.name}.sha256", place / ".stamp"
    lock = LOCKS / "onnxruntime.txt"
    if library.is_file() and digest_file.is_file():
        size = str(library.stat().st_size)
        if _fresh(stamp_file, _stamp([lock], size)) and digest_file.read_text().split()[0] == sha256(library):
            return library
    (wheel,) = fetch_lock(cache, "onnxruntime.txt")
    place.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        pattern = re.compile(rf"onnxruntime/capi/libonnxruntime[.0-9]*\{library.suffix}[.0-9]*")
        names = [name for name in archive.namelist() if pattern.fullmatch(name)]
        if len(names) != 1:
            raise SetupError(f"{wheel.name} holds {len(names)} libraries like {library.name}, expected one")
        partial = place / f".{library.name}.partial"
        with archive.open(names[0]) as source, open(partial, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    os.chmod(partial, 0o755)
    digest_file.write_text(f"{sha256(partial)}  {library.name}\n")
    os.replace(partial, library)
    stamp_file.write_text(_stamp([lock], str(library.stat().st_size)))
    cache.say(f"{library}: {library.stat().st_size / 1e6:.1f} MB")
    return library


def environment(cache: Cache) -> Path:
    """`.cache/venv` with the pinned packages of `demo.txt`. Returns its interpreter."""
    lock = LOCKS / "demo.txt"
    stamp_file = cache.root / "venv" / ".stamp"
    stamp = _stamp([lock], sys.version, sys.executable)
    if cache.python.exists() and _fresh(stamp_file, stamp):
        return cache.python
    shutil.rmtree(cache.root / "venv", ignore_errors=True)
    # Without ensurepip (Debian splits it off) an empty environment still works: pip installs into it from outside.
    bare = importlib.util.find_spec("ensurepip") is None
    made = [sys.executable, "-m", "venv", *(["--without-pip"] if bare else []), str(cache.root / "venv")]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(
            f"{sys.executable} cannot make a virtual environment: {done.stdout.strip() or done.stderr.strip()}\n"
            "On Debian and Ubuntu: `sudo apt install python3-venv`."
        )
    pip = [*find_pip(cache.root), "--python", str(cache.python)] if bare else [str(cache.python), "-m", "pip"]
    _install(cache, pip, lock)
    stamp_file.write_text(stamp)
    return cache.python


def _install(cache: Cache, pip: List[str], lock: Path) -> None:
    """Downloads the lock's wheels for this Python, then installs them without asking the index again."""
    folder = cache.wheels / "python"
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name for path in folder.glob("*.whl")}
    cache.say("the demo's Python packages: downloading ...")
    checks = ["--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    if subprocess.run([*pip, "download", *checks, "--dest", str(folder)], check=False).returncode != 0:
        raise SetupError("pip could not download the demo's packages; its own message stands above")
    new = [path for path in sorted(folder.glob("*.whl")) if path.name not in before]
    for path in new:
        cache.say(f"{path.name.split('-')[0]} {path.name.split('-')[1]}: {path.stat().st_size / 1e6:.1f} MB")
    total = sum(path.stat().st_size for path in new)
    cache.say(f"{lock.name}: {len(new)} wheels, {total / 1e6:.1f} MB")
    done = subprocess.run([*pip, "install", "--no-index", "--find-links", str(folder), *checks], check=False)
    if done.returncode != 0:
        raise SetupError("pip could not install the demo's packages; its own message stands above")


def _run(cache: Cache, *arguments: str) -> None:
    """Runs a module of this package in the demo's environment."""
    environ = dict(os.environ, PYTHONPATH=str(PYTHON_ROOT), PYTHONDONTWRITEBYTECODE="1")
    if subprocess.run([str(cache.python), "-m", *arguments], env=environ, check=False).returncode != 0:
        raise SetupError(f"`python -m {arguments[0]}` failed; its own message stands above")


def demo_images(cache: Cache) -> None:
    """`.cache/demo-images`: pictures, `captions.tsv` and the licence."""
    lock, source = LOCKS / "models.txt", PACKAGE / "setup" / "openmoji.py"
    stamp = _stamp([lock, LOCKS / "demo.txt", source])
    if _fresh(cache.images / ".stamp", stamp):
        return
    (wheel,) = [path for path in fetch_lock(cache, "models.txt") if path.name.startswith("openmoji")]
    _run(cache, "fromagerie.setup.openmoji", "--wheel", str(wheel), "--out", str(cache.images))
    (cache.images / ".stamp").write_text(stamp)


def demo_bundle(cache: Cache) -> None:
    """`.cache/demo-bundle`, when the trained maps are there."""
    if not MAPS.is_file():
        cache.say(f"no trained maps at {MAPS}: the demo bundle is left out")
        return
    sources = sorted((PACKAGE / "export").glob("*.py")) + sorted(MAPS.parent.glob("dialogue.json"))
    stamp = _stamp([LOCKS / "models.txt", LOCKS / "demo.txt", MAPS, *sources])
    stamp_file = cache.root / ".demo-bundle.stamp"
    if (cache.bundle / "fromagerie.json").is_file() and _fresh(stamp_file, stamp):
        return
    wheels, maps, out = str(cache.wheels), str(MAPS), str(cache.bundle)
    _run(cache, "fromagerie.export", "demo", "--wheels", wheels, "--maps", maps, "--out", out)
    stamp_file.write_text(stamp)

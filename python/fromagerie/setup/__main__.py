"""`python3 python/fromagerie/setup VERB`: fetches what tests and the demo need into `.cache/`.

    onnxruntime   the ONNX Runtime library alone (what the tests need; 24 MB)
    demo          everything for the demo: library, frozen models, pictures, and the bundle

Also runs as `python -m fromagerie.setup` where `python/` is on the path.
"""

import argparse
import sys
import time
from pathlib import Path

if sys.version_info < (3, 9):
    sys.exit("error: Python 3.9 or later is needed")
if not __package__:
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from fromagerie.setup import steps  # noqa: E402
from fromagerie.setup.fetch import SetupError  # noqa: E402


def main() -> int:
    """Parses the command line; 0, or 1 with a message that says what to do."""
    parser = argparse.ArgumentParser(
        prog="python3 python/fromagerie/setup", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("verb", choices=("onnxruntime", "demo"))
    parser.add_argument("--cache", type=Path, default=steps.PYTHON_ROOT.parent / ".cache", help="default: .cache/")
    options = parser.parse_args()
    start = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {line}", flush=True)

    cache = steps.Cache(options.cache.absolute(), say)
    try:
        library = steps.onnxruntime(cache)
        if options.verb == "demo":
            steps.fetch_lock(cache, "models.txt")
            steps.environment(cache)
            steps.demo_images(cache)
            steps.demo_bundle(cache)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what was downloaded is kept, and gone on with next time", file=sys.stderr)
        return 130
    say(f"ready: {library}" if options.verb == "onnxruntime" else f"ready: {cache.root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

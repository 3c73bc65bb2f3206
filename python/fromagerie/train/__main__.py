"""`python -m fromagerie.train fromage|demo`: `fromage/run.py` for models of one's own, `fit.py` for the demo's maps."""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Parses the command line and trains."""
    parser = argparse.ArgumentParser(prog="fromagerie.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    raw = argparse.RawDescriptionHelpFormatter
    from . import fit
    from .fromage import run

    fit.add_arguments(commands.add_parser("demo", help="the demo's maps, from its own data", description=fit.__doc__, formatter_class=raw))
    run.add_arguments(commands.add_parser("fromage", help="maps for any language model and CLIP", description=run.__doc__, formatter_class=raw))
    args = parser.parse_args()
    if args.command == "demo":
        fit.main(args)
        return 0
    try:
        run.main(args)
    except (ValueError, OSError) as error:
        # PairsError, RunError, WeightsError, a disk: as `fromagerie.export` says it.
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What is to be embedded, in pieces that need nothing of each other.

Read next: `ray_data.py`, `spark.py`.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Sequence

#: Exit code of `fromagerie` when some records were left out.
PARTLY = 1


class EmbedError(RuntimeError):
    """`fromagerie embed` failed; the message is its own."""


@dataclass(frozen=True)
class Shard:
    """One piece: a source, which part of it, and the table that it becomes."""

    source: str
    part: str
    out: str


@dataclass(frozen=True)
class Embedding:
    """How shards are embedded: the same on every machine, where these paths must mean the same.

    `bundle`: the model. `out`: the folder of tables. `binary`: the `fromagerie` program. `arguments`: more of its
    options, such as `["--with-features", "--thumbnails", "none"]`.
    """

    bundle: str
    out: str
    binary: str = "fromagerie"
    arguments: List[str] = field(default_factory=list)

    def shards(self, sources: Sequence[str], parts: int = 1) -> List[Shard]:
        """A piece for each source, or `parts` of each: for folders of pictures, which are no shards."""
        return [
            Shard(str(source), f"{part}/{parts}", str(Path(self.out) / f"{number:05d}-{part:05d}.parquet"))
            for number, source in enumerate(sources)
            for part in range(parts)
        ]

    def run(self, shard: Shard) -> Dict[str, object]:
        """Embeds one piece, unless its table is there; what it came to. Raises `EmbedError`."""
        if Path(shard.out).exists():
            return {"out": shard.out, "written": 0, "failed": 0, "was_there": True}
        Path(shard.out).parent.mkdir(parents=True, exist_ok=True)
        command = [self.binary, "embed", "--json", "--bundle", self.bundle, "--part", shard.part, "--out", shard.out]
        command += ["--report", shard.out + ".failed.jsonl", *self.arguments, shard.source]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, PARTLY):
            raise EmbedError(f"{shard.source}, part {shard.part}: {done.stderr.strip()}")
        summary = json.loads(done.stdout.strip().splitlines()[-1])
        return {"out": shard.out, "written": summary["written"], "failed": summary["failed"], "was_there": False}

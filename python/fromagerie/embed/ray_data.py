"""`fromagerie embed` by Ray Data: a task for each shard, given again to another worker when one dies.

    python -m fromagerie.embed.ray_data --bundle BUNDLE --out tables --workers 2 'shards/00000.tar' 'shards/00001.tar'
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Sequence

from .command import arguments_of, say
from .shards import Embedding, Shard


def embed(embedding: Embedding, shards: Sequence[Shard], workers: int, retries: int = 3) -> List[Dict[str, Any]]:
    """Embeds `shards` with at most `workers` tasks at once; a row for each shard, by the name of its table.

    A task whose worker dies is tried again, `retries` times. Needs `ray.init` only where the defaults do not do.
    """
    import ray

    def run(row: Dict[str, Any]) -> Dict[str, Any]:
        return embedding.run(Shard(**row))

    rows = [{"source": shard.source, "part": shard.part, "out": shard.out} for shard in shards]
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    done = data.map(run, num_cpus=1, concurrency=workers, max_retries=retries)
    return sorted(done.take_all(), key=lambda row: row["out"])


def main() -> int:
    """Parses the command line; 0, or 1 when records were left out."""
    embedding, shards, workers = arguments_of(__doc__)
    return say(embed(embedding, shards, workers))


if __name__ == "__main__":
    sys.exit(main())

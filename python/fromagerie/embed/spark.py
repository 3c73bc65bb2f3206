"""`fromagerie embed` by Spark: a task for each shard, given again to another executor when one dies.

    python -m fromagerie.embed.spark --bundle BUNDLE --out tables --workers 2 'shards/00000.tar' 'shards/00001.tar'
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, Sequence

from .command import arguments_of, say
from .shards import Embedding, Shard


def embed(embedding: Embedding, shards: Sequence[Shard], context: Any) -> List[Dict[str, Any]]:
    """Embeds `shards` with a `SparkContext`; a row for each shard, by the name of its table.

    How often a task whose executor dies is tried again is Spark's `spark.task.maxFailures`.
    """
    done = context.parallelize(list(shards), len(shards)).map(embedding.run).collect()
    return sorted(done, key=lambda row: row["out"])


def main() -> int:
    """Parses the command line; 0, or 1 when records were left out."""
    from pyspark import SparkConf, SparkContext

    embedding, shards, workers = arguments_of(__doc__)
    # Four failures of a task, as on a cluster; a local master would give up at the first.
    conf = SparkConf().setAppName("fromagerie embed").setIfMissing("spark.master", f"local[{workers},4]")
    with SparkContext(conf=conf) as context:
        return say(embed(embedding, shards, context))


if __name__ == "__main__":
    sys.exit(main())

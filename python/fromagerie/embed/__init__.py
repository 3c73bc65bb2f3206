"""Embedding on many machines: `fromagerie embed` on each shard, driven by Ray Data or by Spark.

`shards.py` says what the work is and does one piece of it; `ray_data.py` and `spark.py` hand the pieces out. Each piece
is a file that appears when it is whole, so one whose worker died is simply made again; `fromagerie ingest` takes the
folder of files.
"""

from .shards import Embedding, Shard

__all__ = ["Embedding", "Shard"]

"""One step of the measurement in another embedded engine, told as one line of JSON.

The same steps as `storage_cost` (the Rust program): `bulk` loads rows in batches, `single` puts them one by one from
several threads. Each engine is asked for the same durability, a write that is on the disk when the call returns, where
it can be asked; `run.py` counts the system calls that show whether it was given.
"""

import argparse
import json
import threading
import time
from pathlib import Path

import numpy


class LanceDb:
    """LanceDB: each `add` commits a version. There is no call that asks for a sync."""

    asked = "nothing to ask: `add` commits a version"

    def __init__(self, folder: Path, dim: int) -> None:
        import lancedb
        import pyarrow

        self.pyarrow = pyarrow
        fields = [
            pyarrow.field("key", pyarrow.string()),
            pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), dim)),
            pyarrow.field("number", pyarrow.int64()),
        ]
        self.schema = pyarrow.schema(fields)
        self.table = lancedb.connect(str(folder)).create_table("items", schema=self.schema)

    def put(self, first: int, vectors: numpy.ndarray) -> None:
        flat = self.pyarrow.array(vectors.reshape(-1))
        columns = [
            self.pyarrow.array([f"item-{first + n:08}" for n in range(len(vectors))]),
            self.pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            self.pyarrow.array(range(first, first + len(vectors)), self.pyarrow.int64()),
        ]
        self.table.add(self.pyarrow.Table.from_arrays(columns, schema=self.schema))

    def end(self) -> None:
        assert self.table.count_rows() > 0


class QdrantEdge:
    """qdrant-edge: `update` writes a log, `flush` asks that it be on the disk."""

    asked = "`flush` after each write"

    def __init__(self, folder: Path, dim: int) -> None:
        import qdrant_edge

        self.edge = qdrant_edge
        vectors = qdrant_edge.EdgeVectorParams(size=dim, distance=qdrant_edge.Distance.Cosine)
        folder.mkdir(parents=True, exist_ok=True)
        self.shard = qdrant_edge.EdgeShard.create(str(folder), qdrant_edge.EdgeConfig(vectors=vectors))

    def put(self, first: int, vectors: numpy.ndarray) -> None:
        points = [
            self.edge.Point(first + n, vector.tolist(), {"key": f"item-{first + n:08}", "number": first + n})
            for n, vector in enumerate(vectors)
        ]
        self.shard.update(self.edge.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def end(self) -> None:
        self.shard.close()


class MilvusLite:
    """milvus-lite through pymilvus: `flush` asks that a collection's rows be on the disk.

    Writers take turns: flushes from several threads at once fail ("current_seq is monotonic") in 3.2.2.
    """

    asked = "`flush` after each write, writers take turns"

    def __init__(self, folder: Path, dim: int) -> None:
        from pymilvus import DataType, MilvusClient

        self.turn = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)
        self.client = MilvusClient(str(folder / "milvus.db"))
        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("number", DataType.INT64)
        self.client.create_collection("items", schema=schema)

    def put(self, first: int, vectors: numpy.ndarray) -> None:
        rows = [
            {"key": f"item-{first + n:08}", "vector": vector.tolist(), "number": first + n}
            for n, vector in enumerate(vectors)
        ]
        with self.turn:
            self.client.upsert("items", rows)
            self.client.flush("items")

    def end(self) -> None:
        self.client.close()


ENGINES = {"lancedb": LanceDb, "qdrant-edge": QdrantEdge, "milvus-lite": MilvusLite}


def written_bytes() -> int:
    """Bytes that this process had the system write to a disk."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def bulk(engine: object, vectors: numpy.ndarray, batch: int) -> dict:
    before, begun = written_bytes(), time.perf_counter()
    for first in range(0, len(vectors), batch):
        engine.put(first, vectors[first : first + batch])
    seconds = time.perf_counter() - begun
    engine.end()
    return {"rows": len(vectors), "seconds": seconds, "written_bytes": written_bytes() - before}


def single(engine: object, vectors: numpy.ndarray, writers: int) -> dict:
    rows, lock, failures = iter(range(len(vectors))), threading.Lock(), []

    def write() -> None:
        while not failures:
            with lock:
                row = next(rows, None)
            if row is None:
                return
            try:
                engine.put(row, vectors[row : row + 1])
            except Exception as error:  # noqa: BLE001 - told in the result
                failures.append(str(error)[:200])

    before, begun = written_bytes(), time.perf_counter()
    threads = [threading.Thread(target=write) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    told = {"rows": len(vectors), "writers": writers, "seconds": seconds}
    return {**told, "written_bytes": written_bytes() - before, "failure": failures[0] if failures else None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("step", choices=["bulk", "single"])
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--writers", type=int, default=1)
    arguments = parser.parse_args()
    vectors = numpy.random.default_rng(1).standard_normal((arguments.rows, arguments.dim)).astype(numpy.float32)
    engine = ENGINES[arguments.engine](arguments.db, arguments.dim)
    if arguments.step == "bulk":
        told = bulk(engine, vectors, arguments.batch)
    else:
        told = single(engine, vectors, arguments.writers)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()

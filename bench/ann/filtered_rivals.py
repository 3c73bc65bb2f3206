"""Other engines that filter, by the line protocol of `shelf`: `filtered_rivals.py NAME build|serve ...`.

faiss is given a bitmap of the rows allowed; qdrant-edge a condition on an indexed payload, as ours is.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np


class Faiss:
    """HNSW over 8-bit codes, M 16, efConstruction 200; the filter is a bitmap, made once for each."""

    def build(self, base, labels, folder):
        import faiss

        index = faiss.IndexHNSWSQ(base.shape[1], faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        self.fill(index, base, labels, folder)

    def fill(self, index, base, labels, folder):
        import faiss

        index.train(base[:50_000])
        index.add(base)
        folder.mkdir(parents=True)
        faiss.write_index(index, str(folder / "index.faiss"))
        np.save(folder / "labels.npy", labels)

    def open(self, folder, names):
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.index = faiss, faiss.read_index(str(folder / "index.faiss"))
        labels = np.load(folder / "labels.npy") != 0
        self.bits = {name: np.packbits(labels[:, at], bitorder="little") for at, name in enumerate(names)}
        self.allowed = {name: faiss.IDSelectorBitmap(bits) for name, bits in self.bits.items()}

    def search(self, vector, k, setting, field):
        parameters = self.faiss.SearchParametersHNSW(efSearch=setting, sel=self.allowed[field])
        return self.index.search(vector[None], k, params=parameters)[1][0]


class FaissIvf(Faiss):
    """An inverted file of 8-bit codes, 4 sqrt(rows) lists; lists are scanned with the bitmap at hand."""

    def build(self, base, labels, folder):
        import faiss

        lists = int(4 * len(base) ** 0.5)
        index = faiss.index_factory(base.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
        self.fill(index, base, labels, folder)

    def search(self, vector, k, setting, field):
        parameters = self.faiss.SearchParametersIVF(nprobe=min(setting, self.index.nlist), sel=self.allowed[field])
        return self.index.search(vector[None], k, params=parameters)[1][0]


class Qdrant:
    """qdrant-edge with an index for each field. Its binding takes True for 1, which a field of booleans does not match: hence words."""

    acorn = None

    def build(self, base, labels, folder):
        import qdrant_edge as q

        names = json.loads(Path(sys.argv[4]).with_suffix(".json").read_text())
        folder.mkdir(parents=True)
        config = q.EdgeConfig(vectors=q.EdgeVectorParams(size=base.shape[1], distance=q.Distance.Dot))
        shard = q.EdgeShard.create(str(folder), config)
        for name in names:
            shard.update(q.UpdateOperation.create_field_index(name, q.PayloadSchemaType.Keyword))
        for start in range(0, len(base), 2000):
            points = [
                q.Point(at, base[at].tolist(), {name: "yes" for name, has in zip(names, labels[at]) if has})
                for at in range(start, min(start + 2000, len(base)))
            ]
            shard.update(q.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        shard.close()

    def open(self, folder, names):
        import qdrant_edge as q

        self.q, self.shard = q, q.EdgeShard.load(str(folder))

    def search(self, vector, k, setting, field):
        q = self.q
        wanted = q.Filter(must=[q.FieldCondition(key=field, match=q.MatchValue(value="yes"))])
        parameters = q.SearchParams(hnsw_ef=setting, acorn=self.acorn and q.AcornSearchParams(enable=True))
        asked = q.SearchRequest(query=q.Query.Nearest(vector.tolist()), limit=k, filter=wanted, params=parameters)
        return [point.id for point in self.shard.search(asked)]


class QdrantAcorn(Qdrant):
    """The same, looking at neighbours of neighbours."""

    acorn = True


RIVALS = {"faiss": Faiss, "faiss-ivf": FaissIvf, "qdrant": Qdrant, "qdrant-acorn": QdrantAcorn}


def serve(rival, folder):
    names = json.loads((folder.parent / "labels.json").read_text())
    rival.open(folder, names)
    print("{}", flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        queries = np.load(ask["queries"])
        ids, times = np.full((len(queries), ask["k"]), -1, np.int32), np.empty(len(queries))
        for at, vector in enumerate(queries):
            begun = time.perf_counter()
            found = rival.search(vector, ask["k"], int(ask["recall"]), ask.get("field"))
            times[at] = time.perf_counter() - begun
            ids[at, : len(found)] = found
        ids.tofile(ask["out"])
        told = {"wall_s": times.sum(), "p50_us": 1e6 * np.median(times), "p99_us": 1e6 * np.percentile(times, 99)}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    chosen, verb, *rest = RIVALS[sys.argv[1]](), *sys.argv[2:]
    if verb == "build":
        chosen.build(np.load(rest[0]), np.load(rest[1]), Path(rest[2]))
    else:
        serve(chosen, Path(rest[0]))

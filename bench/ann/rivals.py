"""Other engines behind the same line protocol as `contender`: `rivals.py NAME build|serve ...`.

Each is a class of three methods; whoever installs an engine (`pip install hnswlib scalable-vs faiss-cpu`) can run it.
"""

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


class Hnswlib:
    """hnswlib, M 16, efConstruction 200."""

    package = "hnswlib"

    def build(self, base, folder, threads):
        import hnswlib

        index = hnswlib.Index("ip", base.shape[1])
        index.init_index(len(base), M=16, ef_construction=200)
        index.add_items(base, np.arange(len(base)), num_threads=threads)
        index.save_index(str(folder / "index.bin"))
        (folder / "dim").write_text(str(base.shape[1]))

    def open(self, folder):
        import hnswlib

        self.index = hnswlib.Index("ip", int((folder / "dim").read_text()))
        self.index.load_index(str(folder / "index.bin"))

    def search(self, queries, k, ef, threads):
        self.index.set_ef(max(ef, k))
        return self.index.knn_query(queries, k, num_threads=threads)[0]


class SvsLvq:
    """Intel's SVS with 4-bit codes and 8 bits of residual (Intel processors only), R 32, L 200."""

    package = "scalable-vs"

    def build(self, base, folder, threads):
        import svs

        rows = np.empty((len(base), base.shape[1] + 1), np.float32)
        rows[:, 1:] = base
        rows[:, :1].view(np.int32)[:] = base.shape[1]
        rows.tofile(folder / "base.fvecs")
        loader = svs.VectorDataLoader(str(folder / "base.fvecs"), svs.float32, base.shape[1])
        parameters = svs.VamanaBuildParameters(
            alpha=0.95, graph_max_degree=32, window_size=200, max_candidate_pool_size=500, prune_to=28
        )
        data = svs.LVQLoader(loader, 4, 8, padding=32)
        index = svs.Vamana.build(parameters, data, svs.DistanceType.MIP, num_threads=threads)
        index.save(*(str(folder / part) for part in ("config", "graph", "data")))
        (folder / "base.fvecs").unlink()

    def open(self, folder):
        import svs

        graph, data = svs.GraphLoader(str(folder / "graph")), svs.LVQLoader(str(folder / "data"))
        self.index = svs.Vamana(str(folder / "config"), graph, data, svs.DistanceType.MIP, num_threads=1)
        self.buffer = svs.SearchBufferConfig

    def search(self, queries, k, ef, threads):
        if self.index.num_threads != threads:
            self.index.num_threads = threads
        parameters = self.index.search_parameters
        parameters.buffer_config = self.buffer(max(ef, k), max(ef, k))
        self.index.search_parameters = parameters
        return self.index.search(queries, k)[0]


class Faiss:
    """What both of faiss's indices have in common."""

    package = "faiss-cpu"

    def open(self, folder):
        import faiss

        self.faiss, self.index = faiss, faiss.read_index(str(folder / "index.faiss"))

    def find(self, queries, k, params, threads):
        self.faiss.omp_set_num_threads(threads)
        return self.index.search(queries, k, params=params)[1]


class FaissHnsw(Faiss):
    """faiss, HNSW over 8-bit codes, M 16, efConstruction 200."""

    def build(self, base, folder, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        index = faiss.IndexHNSWSQ(base.shape[1], faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 200
        index.train(base[:50_000])
        index.add(base)
        faiss.write_index(index, str(folder / "index.faiss"))

    def search(self, queries, k, ef, threads):
        return self.find(queries, k, self.faiss.SearchParametersHNSW(efSearch=ef), threads)


class FaissIvfPq(Faiss):
    """faiss, IVF with product quantisation of 4 bits for two dimensions each (FastScan), 100 candidates re-scored from floats."""

    def build(self, base, folder, threads):
        import faiss

        faiss.omp_set_num_threads(threads)
        lists = 1 << round(np.log2(4 * np.sqrt(len(base))))
        kind = f"IVF{lists},PQ{base.shape[1] // 2}x4fs,RFlat"
        index = faiss.index_factory(base.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        index.train(base[: 64 * lists])
        index.add(base)
        faiss.write_index(index, str(folder / "index.faiss"))

    def search(self, queries, k, ef, threads):
        lists = self.faiss.SearchParametersIVF(nprobe=ef)
        params = self.faiss.IndexRefineSearchParameters(k_factor=10, base_index_params=lists)
        return self.find(queries, k, params, threads)


RIVALS = {"hnswlib": Hnswlib, "svs": SvsLvq, "faiss-hnsw": FaissHnsw, "faiss-ivfpq": FaissIvfPq}


def build(rival, base, folder, threads):
    rows = np.load(base)
    start = time.perf_counter()
    rival.build(rows, Path(folder), int(threads))
    return {"build_s": time.perf_counter() - start, "version": f"{rival.package} {version(rival.package)}"}


def serve(rival, folder, out):
    start = time.perf_counter()
    rival.open(Path(folder))
    print(json.dumps({"load_s": time.perf_counter() - start}), file=out, flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        queries = np.load(ask["queries"])[: ask["n"]]
        k, ef = ask["k"], int(ask["param"])
        report = {}
        start = time.perf_counter()
        if ask["mode"] == "batch":
            ids = rival.search(queries, k, ef, ask["threads"])
        else:
            ids, times = np.empty((len(queries), k), np.int32), np.empty(len(queries))
            for at in range(len(queries)):
                begun = time.perf_counter()
                ids[at] = rival.search(queries[at : at + 1], k, ef, 1)[0]
                times[at] = time.perf_counter() - begun
            report = {f"p{part}_us": float(np.percentile(times, part) * 1e6) for part in (50, 99)}
        report["wall_s"] = time.perf_counter() - start
        np.asarray(ids).astype(np.int32).tofile(ask["out"])
        print(json.dumps(report), file=out, flush=True)


if __name__ == "__main__":
    chosen, verb, *rest = RIVALS[sys.argv[1]](), *sys.argv[2:]
    if verb == "build":
        print(json.dumps(build(chosen, *rest[:3])))
    else:
        serve(chosen, rest[0], sys.stdout)

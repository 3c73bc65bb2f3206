"""Fromagerie's Python side: fetching (`setup`), bundle making (`export`), training (`train`).

Each room imports only what it needs: `setup` runs on a bare Python, `export` wants numpy and onnx,
and only `train` wants PyTorch. Nothing is imported here, so that `import fromagerie` stays free.
"""

__version__ = "0.1.0"

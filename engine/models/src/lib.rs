//! Tensors: bundles, ONNX sessions, the tokenizer and image preprocessing.

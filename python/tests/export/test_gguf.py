"""Goal: GGUF files are read exactly, and nothing but `GgufError` comes out of a bad one.

Method: write tiny files here (an independent writer), decode random blocks one number at a time from the format's
definition, and compare; then cut and flip the header's bytes.
"""

import random
import struct

import numpy as np
import pytest

from fromagerie.export.gguf import KINDS, Gguf, GgufError, read_llama, unpermute


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def metadata_value(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    kind = 8 if value and isinstance(value[0], str) else 4
    items = b"".join(text(v) if kind == 8 else struct.pack("<I", v) for v in value)
    return struct.pack("<IIQ", 9, kind, len(value)) + items


def gguf_bytes(metadata, tensors, version=3):
    """`tensors`: name to (shape, kind, raw bytes)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += text(key) + metadata_value(value)
    body = b""
    for name, (shape, kind, raw) in tensors.items():
        body += b"\0" * (-len(body) % 32)
        head += text(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", side) for side in reversed(shape)) + struct.pack("<IQ", kind, len(body))
        body += raw
    return head + b"\0" * (-len(head) % 32) + body


def half(raw, at):
    return struct.unpack_from("<e", raw, at)[0]


def slow_block(name, raw):
    """One block decoded number by number."""
    if name == "F32":
        return [struct.unpack("<f", raw)[0]]
    if name == "F16":
        return [half(raw, 0)]
    if name == "BF16":
        return [struct.unpack("<f", b"\0\0" + raw)[0]]
    if name == "Q8_0":
        return [half(raw, 0) * struct.unpack_from("<b", raw, 2 + i)[0] for i in range(32)]
    if name == "Q6_K":
        out = []
        for i in range(256):
            part, j = divmod(i, 128)
            quarter, lane = divmod(j, 32)
            low = raw[part * 64 + (quarter % 2) * 32 + lane] >> (4 * (quarter // 2)) & 15
            high = raw[128 + part * 32 + lane] >> (2 * quarter) & 3
            scale = struct.unpack_from("<b", raw, 192 + i // 16)[0]
            out.append(half(raw, 208) * scale * ((low | high << 4) - 32))
        return out
    start = {"Q4_0": 2, "Q4_1": 4, "Q5_0": 6, "Q5_1": 8}[name]
    out = []
    for i in range(32):
        value = raw[start + i % 16] >> (4 * (i // 16)) & 15
        if name[1] == "5":
            value |= (struct.unpack_from("<I", raw, start - 4)[0] >> i & 1) << 4
        if name.endswith("_0"):
            out.append(half(raw, 0) * (value - (8 if name[1] == "4" else 16)))
        else:
            out.append(half(raw, 0) * value + half(raw, 2))
    return out


def random_block(name, nbytes, rng):
    raw = bytearray(rng.randrange(256) for _ in range(nbytes))
    for at in {"F16": [0], "Q6_K": [208], "Q4_1": [0, 2], "Q5_1": [0, 2]}.get(name, [0] if name[0] == "Q" else []):
        struct.pack_into("<e", raw, at, rng.uniform(-2, 2))
    if name in ("F32", "BF16"):
        raw = bytearray(struct.pack("<f", rng.uniform(-9, 9))[4 - nbytes :])
    return bytes(raw)


@pytest.mark.parametrize("kind", sorted(KINDS), ids=lambda kind: KINDS[kind].name)
def test_every_quantisation_equals_the_definition(kind, tmp_path):
    spec, rng = KINDS[kind], random.Random(kind)
    columns = 2 * spec.block
    blocks = [random_block(spec.name, spec.nbytes, rng) for _ in range(3 * columns // spec.block)]
    expected = np.array([n for block in blocks for n in slow_block(spec.name, block)], np.float64).reshape(3, columns)
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes({"a": 1}, {"pad": ((1,), 0, b"\0" * 4), "t": ((3, columns), kind, b"".join(blocks))}))
    found = Gguf(path).tensor("t")
    assert found.dtype == np.float32 and found.shape == (3, columns)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_metadata_of_every_shape(tmp_path):
    values = {"i": 7, "f": 0.5, "s": "dé", "b": True, "words": ["a", "ĠB"], "numbers": [1, 2, 3], "none": []}
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes(values, {}))
    assert Gguf(path).metadata == values


def llama_file(drop=None, tied=True):
    """A Llama of one layer; weights are their own index, so every mix-up shows."""
    heads, kv, width, hidden, inner, vocab = 4, 2, 4, 16, 24, 5
    shapes = {
        "token_embd": (vocab, hidden), "output_norm": (hidden,), "blk.0.attn_norm": (hidden,),
        "blk.0.attn_q": (heads * width, hidden), "blk.0.attn_k": (kv * width, hidden),
        "blk.0.attn_v": (kv * width, hidden), "blk.0.attn_output": (hidden, heads * width),
        "blk.0.ffn_norm": (hidden,), "blk.0.ffn_gate": (inner, hidden), "blk.0.ffn_up": (inner, hidden),
        "blk.0.ffn_down": (hidden, inner),
    }  # fmt: skip
    if not tied:
        shapes["output"] = (vocab, hidden)
    tensors = {
        f"{name}.weight": (shape, 0, np.arange(np.prod(shape), dtype="<f4").tobytes())
        for name, shape in shapes.items()
        if name != drop
    }
    metadata = {
        "general.architecture": "llama", "llama.embedding_length": hidden, "llama.feed_forward_length": inner,
        "llama.block_count": 1, "llama.attention.head_count": heads, "llama.attention.head_count_kv": kv,
        "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.context_length": 32, "llama.rope.freq_base": 5000.0,
        "tokenizer.ggml.tokens": list("abcde"),
    }  # fmt: skip
    return metadata, tensors


def test_llama_by_hugging_face_names(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes(*llama_file()))
    config, tensors = read_llama(path)
    assert (config["num_key_value_heads"], config["head_dim"], config["rope_theta"]) == (2, 4, 5000.0)
    assert config["tie_word_embeddings"] and "lm_head.weight" not in tensors
    assert tensors["model.layers.0.mlp.down_proj.weight"].shape == (16, 24)
    # Rows 0, 1, 2, 3 of a head of width 4 are pairs (0, 2), (1, 3) in Hugging Face's order.
    first = tensors["model.layers.0.self_attn.q_proj.weight"][:4, 0] / 16
    assert first.tolist() == [0, 2, 1, 3]
    path.write_bytes(gguf_bytes(*llama_file(tied=False)))
    assert read_llama(path)[1]["lm_head.weight"].shape == (5, 16)


def test_unpermute_undoes_the_published_permutation():
    weight = np.random.default_rng(0).normal(size=(24, 3))
    theirs = weight.reshape(3, 2, 4, 3).swapaxes(1, 2).reshape(24, 3)  # what convert scripts do to [heads*8, in]
    np.testing.assert_array_equal(unpermute(theirs, 3), weight)


@pytest.mark.parametrize("drop", ["token_embd", "blk.0.attn_k", "output_norm"])
def test_a_missing_tensor_is_named(drop, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes(*llama_file(drop=drop)))
    with pytest.raises(GgufError, match=drop):
        read_llama(path)


@pytest.mark.parametrize("change", [
    {"llama.block_count": 2}, {"llama.embedding_length": 8}, {"general.architecture": "qwen"},
    {"llama.context_length": "many"},
])  # fmt: skip
def test_metadata_that_does_not_fit_the_tensors(change, tmp_path):
    metadata, tensors = llama_file()
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes({**metadata, **change}, tensors))
    with pytest.raises(GgufError):
        read_llama(path)


def test_cut_anywhere_it_is_refused(tmp_path):
    whole = gguf_bytes(*llama_file())
    path = tmp_path / "x.gguf"
    for length in [*range(0, 1500, 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(GgufError):
            Gguf(path)


def test_flipped_header_bytes_never_escape(tmp_path):
    whole, rng, refused = gguf_bytes(*llama_file()), random.Random(1), 0
    path = tmp_path / "x.gguf"
    for _ in range(600):
        bad = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            bad[rng.randrange(1500)] = rng.choice([0, 255, rng.randrange(256)])
        path.write_bytes(bad)
        try:
            read_llama(path)
        except GgufError:
            refused += 1
    assert refused > 300


def test_unknown_version_and_type(tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf_bytes({}, {}, version=9))
    with pytest.raises(GgufError, match="version 9"):
        Gguf(path)
    path.write_bytes(gguf_bytes({}, {"t": ((32,), 99, b"\0" * 32)}))
    with pytest.raises(GgufError, match="unknown type 99"):
        Gguf(path)

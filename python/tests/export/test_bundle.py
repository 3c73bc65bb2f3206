"""Goal: bundles, maps files and tokenizers are written whole, checked and repeatable.

Method: small contents, damaged on purpose; the public `tokenizers` and `safetensors` packages as witnesses.
"""

import hashlib
import json

import numpy as np
import pytest

from fromagerie.export.bundle import REQUIRED, preprocessing, variant_files, write_bundle
from fromagerie.export.demo import DIALOGUE, GENERATION, dialogue_settings
from fromagerie.export.gguf import GgufError
from fromagerie.export.maps import Maps, MapsError, read_safetensors, write_safetensors
from fromagerie.export.tokenizer import build_tokenizer

NAMES = (*REQUIRED, *variant_files("fp32").values())
FILES = {name: name.encode() for name in NAMES}


def test_every_file_is_listed_with_its_digest(tmp_path):
    out = tmp_path / "deep" / "bundle"
    manifest = write_bundle(out, {"name": "x"}, {**FILES, "tokenizer.json": lambda: b"{}"})
    assert json.loads((out / "fromagerie.json").read_text()) == manifest
    for name, entry in manifest["files"].items():
        data = (out / name).read_bytes()
        assert entry == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    assert sorted(manifest["files"]) == sorted(NAMES) and len(list(out.parent.iterdir())) == 1


def test_a_failed_export_leaves_the_old_bundle(tmp_path):
    out = tmp_path / "bundle"
    write_bundle(out, {"name": "old"}, FILES)

    def fails():
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError):
        write_bundle(out, {"name": "new"}, {**FILES, REQUIRED[-1]: fails})
    assert json.loads((out / "fromagerie.json").read_text())["name"] == "old"
    write_bundle(out, {"name": "new"}, FILES)
    assert json.loads((out / "fromagerie.json").read_text())["name"] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_what_is_no_bundle_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"x")
    with pytest.raises(FileExistsError):
        write_bundle(tmp_path / "photos", {}, FILES)
    assert (tmp_path / "photos" / "cat.jpg").exists()
    with pytest.raises(ValueError, match="embed_tokens"):
        write_bundle(tmp_path / "b", {}, {k: v for k, v in FILES.items() if "embed" not in k})


def test_preprocessing_is_what_the_encoders_were_trained_with():
    config = preprocessing(224, 127 / 255, 128 / 255, 0.04)
    pixel = np.arange(256)
    found = (pixel * config["rescale_factor"] - config["image_mean"][0]) / config["image_std"][0]
    np.testing.assert_allclose(found, (pixel - 127) / 128, atol=1e-12)
    assert config["size"]["shortest_edge"] == config["crop_size"]["height"] == 224


def test_training_words_the_dialogue(tmp_path):
    path = tmp_path / "dialogue.json"
    assert dialogue_settings(path) == (DIALOGUE, GENERATION)
    path.write_text('{"preamble": "x", "image_context_weight": 0.5, "ret_bias": 2.0}')
    dialogue, generation = dialogue_settings(path)
    assert (dialogue["preamble"], dialogue["image_context_weight"], generation["ret_bias"]) == ("x", 0.5, 2.0)
    assert dialogue["user"] == DIALOGUE["user"] and generation["eos_token_id"] == GENERATION["eos_token_id"]
    path.write_text('{"preambel": "x"}')
    with pytest.raises(MapsError, match="preambel"):
        dialogue_settings(path)


def test_safetensors_both_ways(tmp_path):
    witness = pytest.importorskip("safetensors.numpy")
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(3, np.float16)}
    write_safetensors(tmp_path / "x", tensors, {"config": "{}"})
    theirs = witness.load_file(tmp_path / "x")
    assert all(np.array_equal(theirs[name], value) for name, value in tensors.items())
    witness.save_file(tensors, tmp_path / "y", {"config": '{"dim": 3}'})
    found, metadata = read_safetensors(tmp_path / "y")
    assert found["b"].dtype == np.float32 and np.array_equal(found["a"], tensors["a"])
    assert json.loads(metadata["config"]) == {"dim": 3}


def test_damaged_maps_are_refused(tmp_path):
    path = tmp_path / "x"
    write_safetensors(path, {"a": np.zeros(8, np.float32)}, {"config": "{}"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(MapsError):
            read_safetensors(path)
    for old, new in ((b": [8]", b": [9]"), (b"[0, 32]", b"[0, 99]"), (b"[0, 32]", b"[0,-32]"), (b'"F32"', b'"Q99"')):
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(MapsError):
            read_safetensors(path)
    write_safetensors(path, {}, {})
    with pytest.raises(MapsError, match="config"):
        Maps.read(path)


def vocabulary():
    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ", "Ã", "©"]
    return {
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": ["<|endoftext|>", "<|im_start|>", *letters, "at", "Ġc", "Ġcat", "12"],
        "tokenizer.ggml.token_type": [3, 3] + [1] * (len(letters) + 4),
        "tokenizer.ggml.merges": ["a t", "Ġ c", "Ġc at", "1 2"],
    }  # fmt: skip


def test_tokenizer_splits_digits_and_knows_ret():
    tokenizers = pytest.importorskip("tokenizers")
    metadata = vocabulary()
    tokenizer = tokenizers.Tokenizer.from_str(build_tokenizer(metadata))
    encoded = tokenizer.encode("<|im_start|>a cat 12é[RET]")
    assert encoded.tokens == ["<|im_start|>", "a", "Ġcat", "Ġ", "1", "2", "Ã", "©", "[RET]"]
    assert encoded.ids[0] == 1 and encoded.ids[-1] == len(metadata["tokenizer.ggml.tokens"])
    assert tokenizer.decode(encoded.ids) == "a cat 12é"
    tokenizer.encode_special_tokens = True
    assert "[RET]" not in tokenizer.encode("[RET]").tokens


@pytest.mark.parametrize("change", [
    {"tokenizer.ggml.pre": "llama-bpe"}, {"tokenizer.ggml.model": "llama"}, {"tokenizer.ggml.merges": ["ab"]},
    {"tokenizer.ggml.token_type": [1]}, {"tokenizer.ggml.tokens": ["a", "a"], "tokenizer.ggml.token_type": [1, 1]},
], ids=str)  # fmt: skip
def test_unknown_tokenizers_are_refused(change):
    with pytest.raises(GgufError):
        build_tokenizer({**vocabulary(), **change})

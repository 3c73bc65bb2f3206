"""Goal: a bundle answers as FROMAGe's own code answers, through the runtime that people run.

Method: tiny models of every shape, written from seeds (`tiny_models.py`), exported by the command that people use, and
asked over a hundred and fifty random prompts through `fromagerie generate` and `fromagerie score`. What PyTorch and
transformers answered, in the reference's way, lies in `golden` (`make_golden.py`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_models as tm

ROOT = Path(__file__).resolve().parents[3]
BINARY = Path(os.environ.get("FROMAGERIE_BINARY", ROOT / "target" / "debug" / "fromagerie"))
GOLDEN = Path(__file__).parent / "golden"
STEPS = 64
IDS = [tiny.name for tiny in tm.SHAPES]


def fromagerie(*arguments, lines=()):
    """Runs the binary with JSON lines on its input; the JSON lines that it printed."""
    assert BINARY.is_file(), f"{BINARY} is not there: `cargo build -p fromagerie-server` makes it"
    text = "\n".join(json.dumps(line) for line in lines)
    done = subprocess.run([str(BINARY), *map(str, arguments)], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def export(*arguments):
    environ = dict(os.environ, PYTHONPATH=str(ROOT / "python"))
    command = [sys.executable, "-m", "fromagerie.export", *map(str, arguments)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(tm.PICTURES):
        (folder / f"{number:02}.png").write_bytes(tm.png(tm.picture(number)))
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Shape by name to its bundle, exported when it is first asked for."""
    made = {}

    def bundle(tiny):
        if tiny.name not in made:
            place = tmp_path_factory.mktemp(tiny.name)
            tm.write_all(tiny, place)
            done = export("fromage", "--model-dir", place / "maps", "--language-model", place / "lm",
                          "--vision-model", place / "clip", "--out", place / "bundle",
                          "--variants", "fp32,fp16,int8,q4")  # fmt: skip
            assert done.returncode == 0, done.stderr
            made[tiny.name] = place / "bundle"
        return made[tiny.name]

    return bundle


def line(prompt, pictures, **options):
    def part(value):
        if value is None:
            return "ret"
        return {"image": str(pictures / f"{value:02}.png")} if isinstance(value, int) else {"text": value}

    return {"parts": [part(value) for value in prompt], **options}


def golden(name):
    return np.load(GOLDEN / f"{name}.npz")


def runs(counts, rows):
    """`rows` cut into runs of these lengths."""
    return np.split(rows, np.cumsum(counts)[:-1])


@pytest.mark.parametrize("tiny", tm.SHAPES, ids=IDS)
def test_logits_and_ret_embeddings(tiny, bundles, pictures):
    expected, prompts = golden(tiny.name), tm.prompts(tiny)
    found = fromagerie("generate", "--bundle", bundles(tiny), lines=[line(p, pictures, max_tokens=0) for p in prompts])
    seen = 0
    for i, queries in enumerate(runs(expected["ret_counts"], expected["rets"])):
        np.testing.assert_allclose(found[i]["logits"], expected["logits"][i], rtol=0, atol=1e-4)
        assert len(found[i]["ret"]) == len(queries)
        for mine, theirs in zip(found[i]["ret"], queries):
            assert 1 - np.dot(mine["embedding"], theirs.astype(np.float64)) < 1e-5
            seen += 1
    assert seen >= len(prompts) // 4, "prompts with [RET] in the middle"


@pytest.mark.parametrize("way", ["cache", "no-cache", "batched"])
@pytest.mark.parametrize("tiny", tm.SHAPES, ids=IDS)
def test_greedy_tokens(tiny, way, bundles, pictures):
    without_cache = way == "no-cache"
    expected, prompts = golden(tiny.name), tm.prompts(tiny)
    step = 6 if without_cache else 1  # slow, and the same code but for what is reused
    options = {"max_tokens": STEPS, "ignore_stops": True, "ret_max": STEPS, "without_cache": without_cache}
    lines = [line(p, pictures, **options) for p in prompts[::step]]
    parallel = ["--parallel", "8"] if way == "batched" else []
    found = fromagerie("generate", "--bundle", bundles(tiny), *parallel, lines=lines)
    generated = runs(expected["generated_counts"], expected["generated"]) if "generated" in expected else None
    for i, answer in enumerate(found[:-1]):
        assert answer["tokens"] == expected["tokens"][i * step].tolist(), prompts[i * step]
        for mine, theirs in zip(answer["ret"], generated[i * step] if generated else []):
            assert 1 - np.dot(mine["embedding"], theirs.astype(np.float64)) < 1e-5


@pytest.mark.parametrize("tiny", tm.SHAPES, ids=IDS)
def test_log_likelihoods_of_prompts_and_of_candidates(tiny, bundles, pictures):
    expected, prompts = golden(tiny.name), tm.prompts(tiny)
    whole = fromagerie("score", "--bundle", bundles(tiny), lines=[line(p, pictures) for p in prompts])
    found = [answer["prompt"]["mean"] for answer in whole[:-1]]
    np.testing.assert_allclose(found, expected["loglik"], rtol=0, atol=1e-4)
    # The last part as a candidate after the others shares their cache, and scores the same.
    split = [(i, p) for i, p in enumerate(prompts) if len(p) > 1 and any(isinstance(v, str) for v in p[:-1])]
    lines = []
    for _, prompt in split:
        last = line(prompt[-1:], pictures)["parts"]
        lines.append({**line(prompt[:-1], pictures), "candidates": [[{"text": "dog dog z"}], last, []]})
    answers = fromagerie("score", "--bundle", bundles(tiny), lines=lines)
    for (i, _), answer in zip(split, answers):
        assert abs(answer["candidates"][1]["mean"] - expected["loglik"][i]) < 1e-4
        scores = [candidate["log_likelihood"] for candidate in answer["candidates"]]
        assert answer["ranking"] == sorted(range(3), key=lambda n: -scores[n]) and answer["ranking"][0] == 2


@pytest.mark.parametrize("tiny", tm.SHAPES, ids=IDS)
def test_retrieved_pictures_and_their_scores(tiny, bundles, pictures, tmp_path):
    expected, bundle = golden(tiny.name), bundles(tiny)
    scale = json.loads((bundle / "fromagerie.json").read_text())["retrieval"]["logit_scale"]
    assert abs(scale - np.exp(2.3 + 0.1 * tiny.seed)) < 1e-5
    database = ["--db", tmp_path / "cellar", "--bundle", bundle, "--collection", "pictures"]
    fromagerie("ingest", *database, pictures, "--json")
    for query in expected["rets"][:: max(1, len(expected["rets"]) // 3)]:
        np.save(tmp_path / "query.npy", query)
        (answer,) = fromagerie("search", *database, "--vector-file", tmp_path / "query.npy", "--limit", tm.PICTURES, "--json")
        scores = expected["images"].astype(np.float64) @ query * scale
        order = np.argsort(-scores)
        assert [hit["key"] for hit in answer["hits"]] == [f"{n:02}.png" for n in order]
        np.testing.assert_allclose([hit["score"] * scale for hit in answer["hits"]], scores[order], rtol=0, atol=1e-4)


@pytest.mark.parametrize("variant", ["fp16", "int8", "q4"])
def test_variants_are_near(variant, bundles, pictures):
    """Near enough to be the same model: random weights of width 32 lose more than real ones do."""
    tiny = tm.SHAPES[0]
    expected, prompts = golden(tiny.name), tm.prompts(tiny)[:24]
    lines = [line(p, pictures, max_tokens=0) for p in prompts]
    found = fromagerie("generate", "--bundle", bundles(tiny), "--variant", variant, lines=lines)
    off = [np.abs(np.array(a["logits"]) - e).mean() for a, e in zip(found[:-1], expected["logits"])]
    spread = expected["logits"].std()
    limit = {"fp16": 0.01, "int8": 0.1, "q4": 0.5}[variant]
    assert 0 < np.mean(off) < limit * spread, (np.mean(off), spread)


def test_a_variant_that_is_not_there_and_a_bundle_too_large(bundles):
    bundle = bundles(tm.SHAPES[0])
    for arguments, says in ((["--variant", "int3"], "it has: fp16, fp32, int8, q4"),
                            (["--model-bytes-max", "1000"], "1000 are allowed")):  # fmt: skip
        command = [str(BINARY), "generate", "--bundle", str(bundle), *arguments]
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert done.returncode == 2 and says in done.stderr, done.stderr


def test_damage_of_one_variant_does_not_matter_to_another(bundles, tmp_path):
    import shutil

    bundle = tmp_path / "bundle"
    shutil.copytree(bundles(tm.SHAPES[0]), bundle)
    graph = bundle / "onnx" / "decoder_model_merged_int8.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    fromagerie("generate", "--bundle", bundle, lines=[{"parts": [{"text": "dog"}], "max_tokens": 1}])
    command = [str(BINARY), "generate", "--bundle", str(bundle), "--variant", "int8"]
    done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "SHA-256" in done.stderr


def test_a_dual_encoder_searches_and_refuses_to_talk(pictures, tmp_path):
    expected = golden("clip")
    tm.write_clip(tmp_path / "clip")
    done = export("clip", "--model", tmp_path / "clip", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    database = ["--db", tmp_path / "cellar", "--bundle", tmp_path / "bundle", "--collection", "pictures"]
    fromagerie("ingest", *database, pictures, "--json")
    for text, query in zip(tm.DUAL_TEXTS, expected["texts"]):
        (answer,) = fromagerie("search", *database, "--text", text, "--limit", tm.PICTURES, "--json")
        scores = expected["images"] @ query
        order = np.argsort(-scores)
        assert [hit["key"] for hit in answer["hits"]] == [f"{n:02}.png" for n in order], text
        np.testing.assert_allclose([hit["score"] for hit in answer["hits"]], scores[order], rtol=0, atol=1e-5)
    (answer,) = fromagerie("search", *database, "--image", pictures / "03.png", "--limit", 1, "--json")
    assert answer["hits"][0]["key"] == "03.png"
    command = [str(BINARY), "generate", "--bundle", str(tmp_path / "bundle")]
    done = subprocess.run(command, input='{"parts":[{"text":"dog"}]}', capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "only searches by words and pictures" in done.stderr

"""Goal: the trainer learns from every kind of source, a run that was stopped ends as one that was not, nothing of the frozen
models moves, and what it writes becomes a bundle. Method: tiny random models, and pictures whose captions name their colour."""

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnx")
from PIL import Image  # noqa: E402

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))
import tiny_models  # noqa: E402

from fromagerie.export.fromage import export_fromage  # noqa: E402
from fromagerie.train.fromage.features import Encoder, prepare  # noqa: E402
from fromagerie.train.fromage.model import Language, Maps  # noqa: E402
from fromagerie.train.fromage.pairs import PairsError, expand, read_pairs  # noqa: E402
from fromagerie.train.fromage.run import RunError, Settings, train  # noqa: E402
from fromagerie.train.fromage.steps import Batch, captioning, queries  # noqa: E402

COLOURS = {"red": (220, 30, 30), "blue": (30, 30, 220), "green": (30, 200, 40), "grey": (128, 128, 128)}
COUNT = 24
SMALL = Settings(epochs=3, batch=8, rate=3e-3, warmup=2, visual_tokens=2, shared_dim=12, layers=[-1, 1], validation_share=0.2, seed=3)
SHAPES = ("opt", "opt-post-norm", "llama", "qwen2")


def png(number: int) -> bytes:
    name = list(COLOURS)[number % len(COLOURS)]
    noise = np.random.default_rng(number).integers(0, 25, (40, 48, 3))
    out = io.BytesIO()
    Image.fromarray((np.array(COLOURS[name]) + noise).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def caption(number: int) -> str:
    return f"the {list(COLOURS)[number % len(COLOURS)]} dog"


@pytest.fixture(scope="module")
def tsv(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    lines = ["caption\timage"]
    for number in range(COUNT):
        (folder / f"{number}.png").write_bytes(png(number))
        lines.append(f"{caption(number)}\t{number}.png")
    (folder / "pairs.tsv").write_text("\n".join(lines))
    return folder / "pairs.tsv"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """The directories of the tiny models, by shape."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"frozen-{name}"
        if not folder.is_dir():
            tiny_models.write_all(next(t for t in tiny_models.SHAPES if t.name == name), folder)
        return folder

    return make


def learn(tsv: Path, frozen: Path, out: Path, settings: Settings = SMALL, images=None):
    said = []
    run = train(str(tsv), images, str(frozen / "lm"), str(frozen / "clip"), out, settings, say=said.append)
    return run, said


def test_sources_of_one_set_are_the_same_pairs(tsv, tmp_path):
    folder, shards = tmp_path / "folder", tmp_path / "shards"
    folder.mkdir()
    shards.mkdir()
    for number in range(COUNT):
        (folder / f"{number}.png").write_bytes(png(number))
        (folder / f"{number}.txt").write_text(caption(number) + "\n")
    for shard in range(2):
        with tarfile.open(shards / f"{shard:05}.tar", "w") as tar:
            for number in range(shard * COUNT // 2, (shard + 1) * COUNT // 2):
                for suffix, data in (("txt", caption(number).encode()), ("png", png(number))):
                    member = tarfile.TarInfo(f"{number:04}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    wanted = sorted((caption(number), png(number)) for number in range(COUNT))
    for source in (str(tsv), str(folder), str(shards), str(shards / "{00000..00001}.tar")):
        assert sorted((pair.caption, pair.read()) for pair in read_pairs(source)) == wanted, source
    assert [str(path) for path in expand("a/{08..11}.tar")] == ["a/08.tar", "a/09.tar", "a/10.tar", "a/11.tar"]


def test_bad_sources_name_what_is_wrong(tmp_path):
    (tmp_path / "no-tab.tsv").write_text("caption\timage\nonly words\n")
    (tmp_path / "cut.tar").write_bytes(b"no tar at all")
    for source, says in (("no-tab.tsv", "line 2: it has no tab"), ("cut.tar", "no whole, uncompressed tar"), ("nothing.tsv", "cannot be read")):
        with pytest.raises(PairsError, match=says):
            read_pairs(str(tmp_path / source))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PairsError, match="no picture with a caption"):
        read_pairs(str(tmp_path / "empty"))


@pytest.mark.parametrize("shape", SHAPES)
def test_it_learns_and_becomes_a_bundle(shape, tsv, models, tmp_path):
    frozen, settings = models(shape), Settings(**{**SMALL.__dict__, "epochs": 25})
    run, said = learn(tsv, frozen, tmp_path / "out", settings)
    first, last = run.rows[0], run.rows[-1]
    assert last["captioning"] < 0.8 * first["captioning"], (first, last)
    assert last["infonce"] < 0.9 * first["infonce"], (first, last)
    assert all(f"r@{k}_{way}" in last for k in (1, 5, 10) for way in ("to_image", "to_text")) and last["caption_loss"] > 0
    fresh = Language(str(frozen / "lm"))
    assert torch.equal(fresh.table[: fresh.ret], run.language.table[: fresh.ret]), "the language model moved"
    assert run.maps.ret_input.norm().item() == pytest.approx(run.maps.norm, rel=1e-5)
    card = json.loads((tmp_path / "out/run_card.json").read_text())
    assert card["settings"]["rate"] == settings.rate and card["judged"]["caption_loss"] == last["caption_loss"]
    header, *rows = (tmp_path / "out/curves.csv").read_text().splitlines()
    assert header.startswith("step,captioning,infonce,logit_scale") and len(rows) == run.step
    manifest = export_fromage(tmp_path / "out", str(frozen / "lm"), str(frozen / "clip"), tmp_path / "bundle", say=lambda _: None)
    assert manifest["retrieval"]["dim"] == 12 and manifest["vision"]["num_visual_tokens"] == 2
    assert_bundle_is_what_was_trained(run, tmp_path / "bundle", manifest, frozen)


def assert_bundle_is_what_was_trained(run, bundle, manifest, frozen):
    """The bundle's graphs map a caption and a picture to where training put them."""
    ort = pytest.importorskip("onnxruntime")
    graph = lambda name: ort.InferenceSession(bundle / "onnx" / f"{name}.onnx")
    ids, sizes = run.data.ids[0], manifest["language_model"]
    embeds = graph("embed_tokens").run(None, {"input_ids": np.array([ids], np.int64)})[0]
    decoder = graph("decoder_model_merged")
    feeds = {"inputs_embeds": embeds, "attention_mask": np.ones((1, len(ids)), np.int64), "num_logits_to_keep": np.array(1, np.int64)}
    nothing = np.zeros((1, sizes["num_key_value_heads"], 0, sizes["head_dim"]), np.float32)
    feeds |= {port.name: nothing for port in decoder.get_inputs() if port.name.startswith("past")}
    found = decoder.run(["retrieval_embedding"], feeds)[0][0, -1]
    with torch.no_grad():
        wanted = queries(run.language, run.maps, [ids])[0].numpy()
        encoder = Encoder(frozen / "clip", "cpu")
        pixels = prepare(png(1), encoder.config)[None]
        shown = run.maps.visual_fc(torch.from_numpy(encoder(pixels)))[0].numpy()
    vision = graph("vision_encoder")
    drawn = vision.run(["retrieval_embedding"], {vision.get_inputs()[0].name: pixels})[0][0]
    for a, b in ((found, wanted), (drawn, shown)):
        assert 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 1e-5


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tsv, models, tmp_path):
    whole, _ = learn(tsv, models("opt"), tmp_path / "whole")
    broken, _ = learn(tsv, models("opt"), tmp_path / "broken", Settings(**{**SMALL.__dict__, "epochs": 1}))
    broken.go(100, say=lambda _: None, stop_after=0)
    # Stopped in the middle of the second epoch, and taken up twice.
    broken.settings = SMALL
    broken.go(100, say=lambda _: None, stop_after=1)
    again, said = learn(tsv, models("opt"), tmp_path / "broken")
    assert f"going on after step {broken.step}" in said and again.step == whole.step
    for (name, a), b in zip(whole.maps.state_dict().items(), again.maps.state_dict().values()):
        assert torch.equal(a, b), name
    assert again.rows == whole.rows
    with pytest.raises(RunError, match="rate was 0.003, not 0.1"):
        learn(tsv, models("opt"), tmp_path / "broken", Settings(**{**SMALL.__dict__, "rate": 0.1}))
    fewer = tmp_path / "fewer.tsv"
    fewer.write_text("\n".join(tsv.read_text().splitlines()[:-1]))
    with pytest.raises(RunError, match="other pairs or another frozen model"):
        learn(fewer, models("opt"), tmp_path / "broken", images=tsv.parent)


def test_pictures_that_cannot_be_read_are_left_out_and_told(tsv, models, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    lines = tsv.read_text().splitlines() + [f"the cat\t{tmp_path / 'bad.png'}", f"the bat\t{tmp_path / 'nothing.png'}"]
    (tmp_path / "pairs.tsv").write_text("\n".join(lines))
    run, said = learn(tmp_path / "pairs.tsv", models("opt"), tmp_path / "out", images=tsv.parent)
    assert sum(line.startswith("left out: ") for line in said) == 2
    assert len(run.data.ids) + len(run.held.ids) == COUNT
    features = next((tmp_path / "out").glob("features-*.f32"))
    features.write_bytes(features.read_bytes()[:100])
    notes = features.with_suffix(".json")
    notes.write_text(json.dumps({"done": 0, "failures": []}))
    again, _ = learn(tmp_path / "pairs.tsv", models("opt"), tmp_path / "out", images=tsv.parent)
    assert torch.equal(again.data.features, run.data.features), "features computed again are the same"


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_and_company_change_nothing(shape, models):
    language = Language(str(models(shape) / "lm"))
    torch.manual_seed(0)
    maps = Maps(language, 16, 2, 12, [-1])
    ids = [language.ids(text, 24) for text in ("the red dog", "a", "cat cat cat dog the bat")]
    with torch.no_grad():
        together = queries(language, maps, ids)
        apart = torch.cat([queries(language, maps, [row]) for row in ids])
        assert torch.allclose(together, apart, atol=1e-5)
        features = torch.randn(3, 16)
        whole = captioning(language, maps, Batch(ids, features), joined=False) * sum(map(len, ids))
        single = [captioning(language, maps, Batch([row], features[i : i + 1]), joined=False) * len(row) for i, row in enumerate(ids)]
        assert whole.item() == pytest.approx(sum(single).item(), rel=1e-4)
        embeds = maps.words(language, torch.tensor([ids[0]]))
        read = language.model.base_model(inputs_embeds=embeds, output_hidden_states=True)
        assert torch.equal(read.hidden_states[-1], read.last_hidden_state), "the head reads another state than the maps"

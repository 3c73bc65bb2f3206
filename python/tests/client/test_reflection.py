"""Goal: a client that knows nothing but an address can do the whole job. Method: the real server over the tiny bundle,
and types learnt from its reflection service alone."""

import socket
import struct
import subprocess
import time
import zlib
from pathlib import Path

import grpc
import pytest

from fromagerie.client import Client

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "engine/models/tests/fixtures/tiny_bundle"


def png(red: int, green: int, blue: int) -> bytes:
    """A picture of one colour, 8 by 8."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + bytes([red, green, blue]) * 8) * 8
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def client(tmp_path):
    binary = next((p for p in (ROOT / "target/debug/fromagerie", ROOT / "target/release/fromagerie") if p.exists()), None)
    assert binary, "build the binary first: `make test` does"
    command = [binary, "serve", "--db", tmp_path / "cellar", "--bundle", BUNDLE, "--listen", "127.0.0.1:0"]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        address = process.stdout.readline().removeprefix("listening on ").strip()
        with Client(address) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_collection_ten_pictures_and_a_chat(client):
    client.create_collection("colours")
    pictures = {f"{n}.png": png(25 * n, 255 - 25 * n, 128) for n in range(10)}
    items = [{"key": key, "image": image, "caption": f"picture {key}", "payload": {"n": n}} for n, (key, image) in enumerate(pictures.items())]
    receipts = list(client.ingest("colours", [items[:5], items[5:]]))
    assert [r.written_count for r in receipts] == [5, 5]
    assert client.collections()[0].item_count == 10

    hit = client.search("colours", image=pictures["3.png"], limit=1)[0]
    assert hit.key == "3.png" and hit.score > 0.999 and hit.payload["n"] == 3
    near = [hit.key for hit in client.search("colours", image=pictures["3.png"], limit=3)]
    apart = [hit.key for hit in client.search("colours", image=pictures["3.png"], limit=3, near_duplicates=0.98, diversity=0.3)]
    assert apart[0] == near[0] == "3.png" and len(apart) == 3 and apart != near
    assert [item.key for item in client.items("colours", page_size=3)] == sorted(pictures)
    assert [item.key for item in client.items("colours", {"n": 4}, with_vectors=True)] == ["4.png"]
    far = client.search("colours", image=pictures["3.png"], terms=[{"image": pictures["4.png"], "weight": -2}], limit=1)
    assert far[0].key == "0.png", "a weight below zero leads away"
    assert [hit.key for hit in client.search("colours", text="a", payload_equals={"n": 7}, exact=True)] == ["7.png"]
    assert client.search("colours", image=pictures["3.png"], score_min=0.9999, limit=9)[0].key == "3.png"

    receipt = client.update("colours", [{"key": "7.png", "payload": {"n": 70}}, {"key": "none", "caption": "x"}])
    assert (receipt.written_count, receipt.failures[0].key, receipt.failures[0].reason) == (1, "none", "UNKNOWN_KEY")
    changed = {"key": "7.png", "caption": "seven", "uri": "not named"}
    client.update("colours", [changed, {"key": "8.png"}], mask=["caption", "payload.n"])
    seven, eight = client.get("colours", "7.png"), client.get("colours", "8.png")
    assert (seven.caption, seven.uri, dict(seven.payload), seven.width) == ("seven", "", {}, 8)
    assert (eight.caption, dict(eight.payload)) == ("", {})
    with pytest.raises(grpc.RpcError, match='`update_mask` cannot be used: it names "width"'):
        client.update("colours", [changed], mask=["width"])

    client.set_alias("latest", "colours")
    assert client.aliases() == {"latest": "colours"} and client.search("latest", text="a", limit=1)
    client.delete_alias("latest")
    assert client.aliases() == {}
    stored = client.get("colours", "3.png")
    assert stored.thumbnail.startswith(b"\xff\xd8") and (stored.width, stored.height) == (8, 8)

    halves = client.create_collection("halves", dim=3, vectors_only=True, vector_type="f16")
    assert halves.vector_type == client.collections()[1].vector_type == 2
    client.upsert("halves", [{"key": "east", "vector": [3.0, 0.0, 0.0]}])
    assert client.search("halves", vector=[1.0, 0.0, 0.0], limit=1)[0].score == 1.0

    session = client.create_session("colours")
    shown = []
    for _ in range(3):
        for event in client.chat(session, pictures["0.png"], "a", max_tokens=2, force_ret=True, images_per_ret=2):
            if event.WhichOneof("event") == "images":
                shown += [hit.key for hit in event.images.hits]
                assert all(hit.thumbnail for hit in event.images.hits)
    assert len(shown) == len(set(shown)) == 6
    assert [s.name for s in client.sessions()] == [session] and len(client.session(session).turns) == 6
    client.delete_session(session)
    assert client.sessions() == []
    assert "0.png" not in shown, "the user's own picture came back"
    assert client.delete("colours", shown).deleted_count == 6
    assert client.model().dim == 6
    client.delete_collection("halves")
    assert [c.name for c in client.collections()] == ["colours"]


def test_a_server_that_does_not_answer_is_given_up(client):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(grpc.RpcError) as error, Client(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.5) as lost:
            lost.collections()
        assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - begun < 20, "it waited for more than its timeout"
    with Client(client.address, timeout=60) as patient:
        patient.create_collection("kept")
        assert [c.name for c in patient.collections()] == ["kept"]
        receipts = list(patient.ingest("kept", [[{"key": "a", "image": png(1, 2, 3)}]]))
        assert receipts[0].written_count == 1


def test_errors_say_what_to_do(client):
    with pytest.raises(grpc.RpcError) as error:
        client.search("nowhere", text="a")
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "no collection" in error.value.details()
    with pytest.raises(ValueError, match="has no field 'sizes'"):
        list(client.chat("s", "a", sizes=1))

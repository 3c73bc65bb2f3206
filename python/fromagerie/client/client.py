"""The calls that applications make, over the wire types that `wire` learns from the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .wire import Wire

#: Largest message in either direction, as the server has it.
MESSAGE_BYTES_MAX = 64 << 20


class Client:
    """One connection to a server. Errors are `grpc.RpcError`, whose details say what to do."""

    def __init__(self, address: str, token: str | None = None):
        self._wire = Wire(address, token, MESSAGE_BYTES_MAX)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._wire.close()

    def create_collection(
        self, name: str, dim: int = 0, vectors_only: bool = False, vector_type: str = "f32"
    ) -> Any:
        """Makes an empty collection; `dim` 0 takes the server's model. `vector_type`: `f32`, or `f16` for half the bytes."""
        kind = f"VECTOR_TYPE_{vector_type.upper()}"
        request = {"name": name, "dim": dim, "vectors_only": vectors_only, "vector_type": kind}
        return self._wire.call("CollectionService", "CreateCollection", request)

    def collections(self) -> list[Any]:
        """Every collection."""
        found, token = [], ""
        while True:
            page = self._wire.call("CollectionService", "ListCollections", {"page_token": token})
            found += page.collections
            token = page.next_page_token
            if not token:
                return found

    def upsert(self, collection: str, items: Iterable[dict], request_id: str = "") -> Any:
        """Writes items as one durable batch. An item is a dict: `key`, `image` (bytes) or `vector` (floats), and
        optionally `caption`, `uri`, `payload` (dict)."""
        request = {"collection": collection, "items": [_item(i) for i in items], "request_id": request_id}
        return self._wire.call("CollectionService", "UpsertItems", request)

    def ingest(self, collection: str, batches: Iterable[list[dict]]) -> Iterator[Any]:
        """Writes a stream of batches; yields a receipt for each, in order, once it is durable."""
        requests = ({"collection": collection, "items": [_item(i) for i in batch]} for batch in batches)
        return self._wire.stream("CollectionService", "IngestItems", requests)

    def get(self, collection: str, key: str) -> Any:
        """One item as it is stored."""
        return self._wire.call("CollectionService", "GetItem", {"collection": collection, "key": key})

    def delete(self, collection: str, keys: Iterable[str]) -> Any:
        """Deletes items, durably."""
        return self._wire.call("CollectionService", "DeleteItems", {"collection": collection, "keys": list(keys)})

    def search(
        self,
        collection: str,
        *,
        text: str | None = None,
        image: bytes | None = None,
        vector: Iterable[float] | None = None,
        key: str | None = None,
        limit: int = 10,
        exclude: Iterable[str] = (),
        with_thumbnails: bool = False,
    ) -> list[Any]:
        """The nearest items, best first. Several of text, image, vector and key are combined."""
        terms: list[dict] = []
        terms += [{"text": text}] if text is not None else []
        terms += [{"image": image}] if image is not None else []
        terms += [{"vector": {"values": list(vector)}}] if vector is not None else []
        terms += [{"key": key}] if key is not None else []
        request = {
            "collection": collection,
            "terms": terms,
            "limit": limit,
            "exclude_keys": list(exclude),
            "with_thumbnails": with_thumbnails,
        }
        return list(self._wire.call("SearchService", "Search", request).hits)

    def create_session(self, collection: str, name: str = "") -> str:
        """Begins a conversation; returns its name."""
        request = {"collection": collection, "session_id": name}
        return self._wire.call("DialogueService", "CreateSession", request).name

    def chat(self, session: str, *parts: str | bytes, **options: Any) -> Iterator[Any]:
        """One turn: words (str) and pictures (bytes) in reading order. Yields `ChatEvent`s as they are made; options
        are those of `ChatOptions`, such as `ret_bias` or `force_ret`."""
        wire_parts = [{"text": p} if isinstance(p, str) else {"image": p} for p in parts]
        request = {"session": session, "parts": wire_parts, "options": options}
        return self._wire.call_streaming("DialogueService", "Chat", request)

    def model(self) -> Any:
        """What the server's model is."""
        return self._wire.call("ModelService", "GetModel", {})


def _item(item: dict) -> dict:
    item = dict(item)
    if "vector" in item:
        item["vector"] = {"values": list(item["vector"])}
    return item

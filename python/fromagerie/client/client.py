"""The calls that applications make, over the wire types that `wire` learns from the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .wire import Wire

#: Largest message in either direction, as the server has it.
MESSAGE_BYTES_MAX = 64 << 20


class Client:
    """One connection to a server. Errors are `grpc.RpcError`, whose details say what to do. A call with one answer that takes
    longer than `timeout` seconds is given up (`DEADLINE_EXCEEDED`); a write may still have been made: with a `request_id`
    it can be sent again."""

    def __init__(self, address: str, token: str | None = None, timeout: float | None = None):
        self.address = address
        self._wire = Wire(address, token, MESSAGE_BYTES_MAX, timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._wire.close()

    def _pages(self, service: str, method: str, field: str) -> list[Any]:
        """`field` of all pages that a method lists."""
        found, token = [], ""
        while True:
            page = self._wire.call(service, method, {"page_token": token})
            found += getattr(page, field)
            token = page.next_page_token
            if not token:
                return found

    def create_collection(
        self, name: str, dim: int = 0, vectors_only: bool = False, vector_type: str = "f32"
    ) -> Any:
        """Makes an empty collection; `dim` 0 takes the server's model. `vector_type`: `f32`, or `f16` for half the bytes."""
        kind = f"VECTOR_TYPE_{vector_type.upper()}"
        request = {"name": name, "dim": dim, "vectors_only": vectors_only, "vector_type": kind}
        return self._wire.call("CollectionService", "CreateCollection", request)

    def collections(self) -> list[Any]:
        """Every collection."""
        return self._pages("CollectionService", "ListCollections", "collections")

    def delete_collection(self, name: str) -> None:
        """Deletes a collection and all its items; not while an alias names it."""
        self._wire.call("CollectionService", "DeleteCollection", {"name": name})

    def set_alias(self, name: str, collection: str) -> Any:
        """Points an alias at a collection, in one step."""
        return self._wire.call("CollectionService", "SetAlias", {"alias": {"name": name, "collection": collection}})

    def aliases(self) -> dict[str, str]:
        """The collection of each alias."""
        aliases = self._wire.call("CollectionService", "ListAliases", {}).aliases
        return {alias.name: alias.collection for alias in aliases}

    def delete_alias(self, name: str) -> None:
        """Deletes an alias; its collection stays."""
        self._wire.call("CollectionService", "DeleteAlias", {"name": name})

    def upsert(self, collection: str, items: Iterable[dict], request_id: str = "") -> Any:
        """Writes items as one durable batch. An item is a dict: `key`, `image` (bytes) or `vector` (floats), and
        optionally `caption`, `uri`, `payload` (dict)."""
        request = {"collection": collection, "items": [_item(i) for i in items], "request_id": request_id}
        return self._wire.call("CollectionService", "UpsertItems", request)

    def update(self, collection: str, items: Iterable[dict], mask: str | Iterable[str] = (), request_id: str = "") -> Any:
        """Changes what is known of items that are there, as one durable batch. Items are as for `upsert`. `mask` names what
        changes: `caption`, `uri`, `image`, `vector`, `payload` (all of it) or `payload.NAME` (which is removed where an
        item has none). What is stored of the items may have 128 MiB: send many in several calls. Without it, all that an item has set changes, and nothing is removed."""
        request = {
            "collection": collection,
            "items": [_item(i) for i in items],
            "update_mask": {"paths": [mask] if isinstance(mask, str) else list(mask)},
            "request_id": request_id,
        }
        return self._wire.call("CollectionService", "UpdateItems", request)

    def ingest(self, collection: str, batches: Iterable[list[dict]]) -> Iterator[Any]:
        """Writes a stream of batches; yields a receipt for each, in order, once it is durable."""
        requests = ({"collection": collection, "items": [_item(i) for i in batch]} for batch in batches)
        return self._wire.stream("CollectionService", "IngestItems", requests)

    def get(self, collection: str, key: str) -> Any:
        """One item as it is stored."""
        return self._wire.call("CollectionService", "GetItem", {"collection": collection, "key": key})

    def items(self, collection: str, payload_equals: dict | None = None, **options: Any) -> Iterator[Any]:
        """All items in the order of their keys, read page by page; options are those of `ListItemsRequest`, such as
        `with_vectors`."""
        request = {"collection": collection, "payload_equals": payload_equals, **options}
        while True:
            page = self._wire.call("CollectionService", "ListItems", request)
            yield from page.items
            if not page.next_page_token:
                return
            request["page_token"] = page.next_page_token

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
        terms: Iterable[dict] = (),
        exclude: Iterable[str] = (),
        near_duplicates: float | None = None,
        diversity: float = 0.0,
        **options: Any,
    ) -> list[Any]:
        """The nearest items, best first. Several of text, image, vector and key are combined, and with them `terms`, which
        may have weights, below zero too: `{"key": "dog.jpg", "weight": -0.5}`. What has a cosine of at least
        `near_duplicates` with a better hit is left out; `diversity` (0 to 1) prefers hits unlike those before. Other
        options are those of `SearchRequest`, such as `payload_equals` (a dict), `score_min`, `recall` or
        `with_thumbnails`."""
        terms = [_item(term) for term in terms]
        terms += [{"text": text}] if text is not None else []
        terms += [{"image": image}] if image is not None else []
        terms += [{"vector": {"values": list(vector)}}] if vector is not None else []
        terms += [{"key": key}] if key is not None else []
        request = {
            "collection": collection,
            "terms": terms,
            "limit": limit,
            "exclude_keys": list(exclude),
            "spread": {"near_duplicates": near_duplicates, "diversity": diversity},
            **options,
        }
        return list(self._wire.call("SearchService", "Search", request).hits)

    def create_session(self, collection: str, name: str = "") -> str:
        """Begins a conversation; returns its name."""
        request = {"collection": collection, "session_id": name}
        return self._wire.call("DialogueService", "CreateSession", request).name

    def session(self, name: str) -> Any:
        """A conversation and its turns."""
        return self._wire.call("DialogueService", "GetSession", {"name": name})

    def sessions(self) -> list[Any]:
        """Every conversation, without its turns."""
        return self._pages("DialogueService", "ListSessions", "sessions")

    def delete_session(self, name: str) -> None:
        """Forgets a conversation."""
        self._wire.call("DialogueService", "DeleteSession", {"name": name})

    def chat(self, session: str, *parts: str | bytes, **options: Any) -> Iterator[Any]:
        """One turn: words (str) and pictures (bytes) in reading order. Yields `ChatEvent`s as they are made; options
        are those of `ChatOptions`, such as `ret_bias` or `force_ret`."""
        request = {"session": session, "parts": _parts(parts), "options": options}
        return self._wire.call_streaming("DialogueService", "Chat", request)

    def score(self, prompt: Iterable[str | bytes], candidates: Iterable[str | bytes | Iterable[str | bytes]]) -> Any:
        """How likely the model finds each candidate after the prompt: a `ScoreResponse`, whose `ranking` has the
        likeliest first. Words are str, pictures bytes; a candidate is one of them, or several in reading order."""
        request = {"prompt": _parts(prompt), "candidates": [{"parts": _parts(c)} for c in candidates]}
        return self._wire.call("ModelService", "Score", request)

    def caption(self, image: bytes, question: str = "", max_tokens: int | None = None) -> str:
        """What a picture shows, in words; with a question, what the model answers to that."""
        request = {"image": image, "question": question, "max_tokens": max_tokens}
        return self._wire.call("ModelService", "Caption", request).caption

    def start_ingest(self, collection: str, sources: Iterable[str], sync: bool = False, **options: Any) -> Any:
        """Begins a job that reads paths of the server's machine into a collection. Options are those of `JobInput`, such
        as `format` or `key_column`, and `with_features`."""
        with_features = options.pop("with_features", False)
        request = {
            "collection": collection,
            "input": {"sources": [str(source) for source in sources], **options},
            "sync": sync,
            "with_features": with_features,
        }
        return self._wire.call("JobService", "StartIngest", request)

    def start_reindex(self, alias: str, sources: Iterable[str] = (), **options: Any) -> Any:
        """Begins a job that builds a new generation of an alias, verifies it, and moves the alias to it. Without
        sources the items that are there are taken over. Options are those of `StartReindexRequest`."""
        request = {"alias": alias, "input": {"sources": [str(source) for source in sources]}, **options}
        return self._wire.call("JobService", "StartReindex", request)

    def jobs(self) -> list[Any]:
        """Every job, oldest first."""
        return self._pages("JobService", "ListJobs", "jobs")

    def delete_job(self, job: str) -> None:
        """Forgets a job that has ended, and its report; what it wrote stays."""
        self._wire.call("JobService", "DeleteJob", {"id": job})

    def watch_job(self, job: str) -> Iterator[Any]:
        """The job as it is now, again whenever it changes, and at last as it stopped."""
        return self._wire.call_streaming("JobService", "WatchJob", {"id": job})

    def pause_job(self, job: str) -> Any:
        """Stops a job where it can be gone on with."""
        return self._wire.call("JobService", "PauseJob", {"id": job})

    def resume_job(self, job: str) -> Any:
        """Goes on with a job that was paused or failed."""
        return self._wire.call("JobService", "ResumeJob", {"id": job})

    def cancel_job(self, job: str) -> Any:
        """Stops a job for good; what it wrote stays."""
        return self._wire.call("JobService", "CancelJob", {"id": job})

    def rollback(self, alias: str, collection: str = "") -> str:
        """Moves an alias back to what it named before, or to `collection`; the name of that."""
        return self._wire.call("JobService", "RollbackAlias", {"alias": alias, "collection": collection}).collection

    def model(self) -> Any:
        """What the server's model is."""
        return self._wire.call("ModelService", "GetModel", {})


def _parts(parts: str | bytes | Iterable[str | bytes]) -> list[dict]:
    if isinstance(parts, (str, bytes)):
        parts = [parts]
    return [{"text": part} if isinstance(part, str) else {"image": part} for part in parts]


def _item(item: dict) -> dict:
    item = dict(item)
    if "vector" in item:
        item["vector"] = {"values": list(item["vector"])}
    return item

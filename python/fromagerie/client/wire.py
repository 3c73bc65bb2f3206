"""Message types and methods, learnt from the server's reflection service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

PACKAGE = "fromagerie.v1"


class Wire:
    """A channel and the types that travel on it."""

    def __init__(self, address: str, token: str | None, message_bytes_max: int, timeout: float | None = None):
        options = [
            ("grpc.max_send_message_length", message_bytes_max),
            ("grpc.max_receive_message_length", message_bytes_max),
        ]
        self._channel = grpc.insecure_channel(address, options)
        if timeout is not None:
            self._channel = grpc.intercept_channel(self._channel, _Deadline(timeout))
        if token:
            self._channel = grpc.intercept_channel(self._channel, _BearerToken(token))
        self._pool = DescriptorPool(ProtoReflectionDescriptorDatabase(self._channel))

    def close(self) -> None:
        self._channel.close()

    def call(self, service: str, method: str, request: dict) -> Any:
        """One request, one answer."""
        path, input_type, output_type = self._method(service, method)
        rpc = self._channel.unary_unary(path, input_type.SerializeToString, output_type.FromString)
        return rpc(build(input_type, request))

    def call_streaming(self, service: str, method: str, request: dict) -> Iterator[Any]:
        """One request, a stream of answers."""
        path, input_type, output_type = self._method(service, method)
        rpc = self._channel.unary_stream(path, input_type.SerializeToString, output_type.FromString)
        return rpc(build(input_type, request))

    def stream(self, service: str, method: str, requests: Iterable[dict]) -> Iterator[Any]:
        """A stream of requests, a stream of answers."""
        path, input_type, output_type = self._method(service, method)
        rpc = self._channel.stream_stream(path, input_type.SerializeToString, output_type.FromString)
        return rpc(build(input_type, request) for request in requests)

    def _method(self, service: str, method: str) -> tuple[str, type, type]:
        described = self._pool.FindServiceByName(f"{PACKAGE}.{service}").FindMethodByName(method)
        path = f"/{PACKAGE}.{service}/{method}"
        return path, GetMessageClass(described.input_type), GetMessageClass(described.output_type)


def build(message_type: type, values: dict) -> Any:
    """A message from nested dicts and lists. Unlike JSON, bytes stay bytes."""
    message = message_type()
    _fill(message, values)
    return message


def _fill(message: Any, values: dict) -> None:
    for name, value in values.items():
        if name not in message.DESCRIPTOR.fields_by_name:
            known = ", ".join(message.DESCRIPTOR.fields_by_name)
            raise ValueError(f"{message.DESCRIPTOR.name} has no field {name!r}; it has {known}")
        field = getattr(message, name)
        if isinstance(value, dict):
            field.SetInParent()
            if message.DESCRIPTOR.fields_by_name[name].message_type.full_name == "google.protobuf.Struct":
                field.MergeFromString(json_format.ParseDict(value, struct_pb2.Struct()).SerializeToString())
            else:
                _fill(field, value)
        elif isinstance(value, list):
            for element in value:
                if isinstance(element, dict):
                    _fill(field.add(), element)
                else:
                    field.append(element)
        elif value is not None:
            setattr(message, name, value)


class _BearerToken(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds the token to every call, reflection's among them."""

    def __init__(self, token: str):
        self._entry = ("authorization", f"Bearer {token}")

    def _with_token(self, details: Any) -> Any:
        metadata = [*(details.metadata or []), self._entry]
        return _Details(details.method, details.timeout, metadata, details.credentials)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_unary_stream(self, continuation, details, request):
        return continuation(self._with_token(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        return continuation(self._with_token(details), requests)


class _Deadline(grpc.UnaryUnaryClientInterceptor, grpc.StreamStreamClientInterceptor):
    """Limits calls with one answer, and the questions to reflection that come before them."""

    def __init__(self, seconds: float):
        self._seconds = seconds

    def _limited(self, details: Any) -> Any:
        return _Details(details.method, self._seconds, details.metadata, details.credentials)

    def intercept_unary_unary(self, continuation, details, request):
        return continuation(self._limited(details), request)

    def intercept_stream_stream(self, continuation, details, requests):
        asks_reflection = "grpc.reflection." in str(details.method)
        return continuation(self._limited(details) if asks_reflection else details, requests)


class _Details(grpc.ClientCallDetails):
    def __init__(self, method, timeout, metadata, credentials):
        self.method, self.timeout = method, timeout
        self.metadata, self.credentials = metadata, credentials

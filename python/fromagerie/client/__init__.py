"""A client of a Fromagerie server, built from what the server says of itself.

Messages come from the server's own descriptors (gRPC reflection), so there is no generated code to keep in step:

    from fromagerie.client import Client

    with Client("127.0.0.1:50051") as client:
        client.create_collection("photos")
        client.upsert("photos", [{"key": "cat.jpg", "image": open("cat.jpg", "rb").read(), "caption": "our cat"}])
        for hit in client.search("photos", text="a cat asleep"):
            print(f"{hit.score:.3f}  {hit.key}")
        session = client.create_session("photos")
        for event in client.chat(session, "Show me a cat."):
            print(event)
"""

from .client import Client

__all__ = ["Client"]

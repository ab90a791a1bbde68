"""A stand-in for Google Cloud Storage, as far as gcsfs, TensorStore and its own client use it.

`python tests/object_store.py BUCKET` keeps one bucket in memory and prints the address to which
`STORAGE_EMULATOR_HOST` and `TENSORSTORE_GCS_HTTP_URL` are to be set.

https://cloud.google.com/storage/docs/json_api/v1
"""

import itertools
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o")
_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
_UPLOAD = re.compile(r"/(?:resumable/)?upload/storage/v1/b/([^/]+)/o")
_COPY = re.compile(r"/storage/v1/b/[^/]+/o/([^/]+)/(?:rewriteTo|copyTo)/b/[^/]+/o/([^/]+)")
_MOVE = re.compile(r"/storage/v1/b/[^/]+/o/([^/]+)/moveTo/o/([^/]+)")
_TIME = "2026-01-01T00:00:00.000Z"


class _Stored(NamedTuple):
    content: bytes
    generation: int


class Store:
    """The objects of one bucket by name."""

    def __init__(self, bucket: str):
        self.bucket = bucket
        self.objects: dict[str, _Stored] = {}
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)

    def put(self, name: str, content: bytes) -> dict[str, Any]:
        """Replaces an object; returns its metadata."""
        self.objects[name] = _Stored(content, next(self.numbers))
        return self.metadata(name)

    def metadata(self, name: str) -> dict[str, Any]:
        """Returns the metadata of an object."""
        content, generation = self.objects[name]
        return {
            "kind": "storage#object",
            "name": name,
            "bucket": self.bucket,
            "size": str(len(content)),
            "generation": str(generation),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "timeCreated": _TIME,
            "updated": _TIME,
        }

    def listed(self, query: dict[str, str]) -> dict[str, Any]:
        """Returns what stands under a prefix: objects, and folders where a delimiter is given."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        first, end = query.get("startOffset", ""), query.get("endOffset", "")
        items, folders = [], set()
        for name in sorted(self.objects):
            if not name.startswith(prefix) or name < first or (end and name >= end):
                continue
            inside, found, _ = name[len(prefix) :].partition(delimiter or "\0")
            if found:
                folders.add(prefix + inside + delimiter)
            else:
                items.append(self.metadata(name))
        items = items[: int(query.get("maxResults", 10**6))]
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(folders)}


class Handler(BaseHTTPRequestHandler):
    """Answers for a store."""

    protocol_version = "HTTP/1.1"
    store: Store

    def log_message(self, *arguments: Any) -> None:
        """Says nothing."""

    def _answer(self, code: int, body: bytes | dict[str, Any] = b"", **headers: str) -> None:
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in {"content-type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _handle(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        with self.store.lock:
            try:
                self._dispatch(body)
            except KeyError:
                self._answer(404, {"error": {"code": 404, "message": "Not Found"}})

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _dispatch(self, body: bytes) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path.startswith("/batch/"):
            self._batch(body)
        elif match := _UPLOAD.fullmatch(url.path):
            self._upload(query, body)
        elif match := _COPY.fullmatch(url.path):
            source, target = map(unquote, match.groups())
            metadata = self.store.put(target, self.store.objects[source].content)
            self._answer(200, {"done": True, "resource": metadata})
        elif match := _MOVE.fullmatch(url.path):
            source, target = map(unquote, match.groups())
            self._answer(200, self.store.put(target, self.store.objects.pop(source).content))
        elif match := _OBJECT.fullmatch(url.path):
            self._object(unquote(match[2]), query)
        elif _LIST.fullmatch(url.path):
            self._answer(200, self.store.listed(query))
        elif _BUCKET.fullmatch(url.path):
            self._answer(200, {"kind": "storage#bucket", "name": self.store.bucket})
        else:
            raise KeyError(url.path)

    def _is_met(self, name: str, query: dict[str, str]) -> bool:
        """Answers where the object is not of the generation that is asked for."""
        here = self.store.objects.get(name)
        generation = str(here.generation) if here else "0"
        if query.get("ifGenerationMatch", generation) != generation:
            self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        elif query.get("ifGenerationNotMatch") == generation:
            self._answer(304)
        else:
            return True
        return False

    def _object(self, name: str, query: dict[str, str]) -> None:
        if not self._is_met(name, query):
            return
        content, generation = self.store.objects[name]
        if self.command == "DELETE":
            del self.store.objects[name]
            self._answer(204)
        elif query.get("alt") != "media":
            self._answer(200, self.store.metadata(name))
        else:
            code, headers = 200, {"x_goog_generation": str(generation)}
            if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or ""):
                first, last = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
                if first >= len(content):
                    self._answer(416)
                    return
                headers["content_range"] = f"bytes {first}-{last}/{len(content)}"
                code, content = 206, content[first : last + 1]
            self._answer(code, content, **headers)

    def _upload(self, query: dict[str, str], body: bytes) -> None:
        kind = query.get("uploadType")
        if "upload_id" in query:
            self._chunk(query["upload_id"], body)
        elif kind == "resumable":
            name = query.get("name") or json.loads(body)["name"]
            number = str(next(self.store.numbers))
            self.store.uploads[number] = name, b""
            host = self.headers["host"]
            bucket = quote(self.store.bucket)
            address = f"http://{host}/upload/storage/v1/b/{bucket}/o?upload_id={number}"
            self._answer(200, location=address)
        else:
            name = query.get("name", "")
            if kind == "multipart":
                metadata, content = self._parts(body)
                name, body = json.loads(metadata)["name"], content
            if self._is_met(name, query):
                self._answer(200, self.store.put(name, body))

    def _chunk(self, number: str, body: bytes) -> None:
        name, before = self.store.uploads[number]
        content = before + body
        if self.headers.get("content-range", "").endswith("/*"):
            self.store.uploads[number] = name, content
            self._answer(308, range=f"bytes=0-{len(content) - 1}")
        else:
            del self.store.uploads[number]
            self._answer(200, self.store.put(name, content))

    def _parts(self, body: bytes) -> list[bytes]:
        boundary = re.search(r"boundary=['\"]?([^'\";]+)", self.headers["content-type"])[1]
        parts = body.split(b"--" + boundary.encode())[1:-1]
        bodies = (re.split(rb"\r?\n\r?\n", part, maxsplit=1)[1] for part in parts)
        return [content.removesuffix(b"\n").removesuffix(b"\r") for content in bodies]

    def _batch(self, body: bytes) -> None:
        """Deletes objects, each asked for in a part of its own."""
        answers = []
        for part in self._parts(body):
            path = urlsplit(part.split()[1].decode()).path
            known = self.store.objects.pop(unquote(_OBJECT.fullmatch(path)[2]), None)
            status = "204 No Content" if known else "404 Not Found"
            answers.append(
                "--part\r\nContent-Type: application/http\r\n\r\n"
                f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n\r\n"
            )
        text = "".join(answers) + "--part--"
        self._answer(200, text.encode(), content_type="multipart/mixed; boundary=part")


def main() -> None:
    """Serves until it is stopped."""
    Handler.store = Store(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

"""A hub of a few files, for the hub's own library: just what that asks to stream a set."""

import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlparse

_API = re.compile(
    r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree)/(refs/[^/]+/[^/]+|[^/]+)/?(.*))?"
)
_FILE = re.compile(r"/datasets/([^/]+/[^/]+)/resolve/(refs/[^/]+/[^/]+|[^/]+)/(.+)")


def handler(sets):
    """A handler of `sets`: ids to revisions to a commit and its files, names to bytes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urlparse(self.path)
            path = unquote(url.path)
            if match := _FILE.fullmatch(path):
                commit, files = found(sets, match[1], match[2])
                return self.send_file(commit, files.get(match[3]))
            match = _API.fullmatch(path)
            commit, files = found(sets, match[1], match[3] or "main") if match else ("", {})
            if not commit:
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if match[2] == "tree":
                body = entries(files, match[4], "true" in parse_qs(url.query)["recursive"])
            else:
                names = [{"rfilename": name} for name in files]
                body = {"id": match[1], "sha": commit, "siblings": names, "tags": []}
            return self.answer(200, json.dumps(body).encode(), {})

        def do_HEAD(self):
            self.do_GET()

        def send_file(self, commit, content):
            if content is None:
                headers = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}
                return self.answer(404, b"", headers)
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hash(content)}"'}
            if span := re.match(r"bytes=(\d+)-(\d+)", self.headers.get("range", "")):
                first, last = int(span[1]), min(int(span[2]), len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
                return self.answer(206, content[first : last + 1], headers)
            return self.answer(200, content, headers)

        def answer(self, status, body, headers):
            self.send_response(status)
            for name, value in (headers | {"Content-Length": len(body)}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    return Handler


def found(sets, name, revision):
    """The commit and the files of a revision, by its name or its commit."""
    for known, (commit, files) in sets.get(name, {}).items():
        if revision in (known, commit):
            return commit, files
    return "", {}


def entries(files, under, recursive):
    """What lies in a folder of a set, as the hub lists it."""
    inside = {name for name in files if not under or name.startswith(f"{under}/")}
    depth = under.count("/") + 1 if under else 0
    listed = {}
    for name in inside:
        parts = name.split("/")
        for length in range(depth + 1, len(parts) + 1 if recursive else depth + 2):
            path = "/".join(parts[:length])
            kind = "file" if path == name else "directory"
            size = len(files[name]) if path == name else 0
            listed[path] = {"type": kind, "oid": "0" * 40, "size": size, "path": path}
    return list(listed.values())

"""Requests for transcripts, and clients that have long recordings transcribed meanwhile."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from harness.server import Server

PATIENCE = 900  # seconds without a byte; who has no answer by then is hung


def transcribe(server: Server, path: Path, key: str = "", **fields: str) -> dict[str, Any]:
    """Raises httpx.HTTPError where the answer is no transcript."""
    with path.open("rb") as file:
        answer = httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            headers=_headers(key),
            data=fields,
            files={"file": (path.name, file)},
            timeout=PATIENCE,
        )
    return answer.raise_for_status().json()


def _headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


class Archives:
    """Clients, one for each key, each of which has a recording transcribed, and then again, while
    the block runs; it begins when each has had text. Then they leave, in the midst of it.

    ended: how many transcripts came to their end.
    """

    def __init__(self, server: Server, path: Path, keys: Sequence[str]) -> None:
        self.ended = 0
        self._url, self._path, self._keys = f"{server.url}/v1/audio/transcriptions", path, keys
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(len(keys))

    def __enter__(self) -> Self:
        begun = [threading.Event() for _ in self._keys]
        self._clients = [
            self._pool.submit(self._keep, *one) for one in zip(self._keys, begun, strict=True)
        ]
        try:
            if not all(one.wait(PATIENCE) for one in begun):
                raise TimeoutError(f"no text of {self._path.name} within {PATIENCE} s")
        except BaseException:
            self._over.set()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raises httpx.HTTPError where a client was refused."""
        self._over.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _keep(self, key: str, begun: threading.Event) -> None:
        try:
            while not self._over.is_set():
                self._once(key, begun)
        finally:
            begun.set()  # or nobody would come to hear why it is none

    def _once(self, key: str, begun: threading.Event) -> None:
        """Streamed, so that it is seen that the engine has its windows."""
        with (
            self._path.open("rb") as file,
            httpx.stream(
                "POST",
                self._url,
                headers=_headers(key),
                data={"stream": "true"},
                files={"file": (self._path.name, file)},
                timeout=PATIENCE,
            ) as answer,
        ):
            answer.raise_for_status()
            for line in answer.iter_lines():
                if "transcript.text.delta" in line:
                    begun.set()
                if self._over.is_set():
                    return
        self.ended += 1
        begun.set()

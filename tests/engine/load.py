"""Clients that never stop asking."""

import threading
import time

from tests.engine.conftest import MAYDAY


class Load:
    """A client for each of these models' names; None asks for the default. As a context manager
    it runs them, and waits for their last answers."""

    def __init__(self, server, models):
        self.answers = []
        self._server = server
        self._ended = threading.Event()
        self._clients = [threading.Thread(target=self._ask, args=(name,)) for name in models]

    def __enter__(self):
        for one in self._clients:
            one.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for one in self._clients:
            one.join()

    def wait(self, seconds=60):
        """Until there are answers to requests that began after now, as well as to those under
        way."""
        enough = len(self.answers) + 2 * len(self._clients)
        deadline = time.monotonic() + seconds
        while len(self.answers) < enough and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(self.answers) >= enough

    def refused(self):
        """The bodies of answers that are no transcription."""
        return [answer.text for answer in self.answers if answer.status_code != 200]

    def _ask(self, name):
        fields = {"model": name} if name else {}
        while not self._ended.is_set():
            self.answers.append(self._server.transcribe(MAYDAY, **fields))

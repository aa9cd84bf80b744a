"""Clients that never stop asking."""

import operator
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
        self._answered = [0] * len(models)
        self._clients = [
            threading.Thread(target=self._ask, args=(number, {"model": name} if name else {}))
            for number, name in enumerate(models)
        ]

    def __enter__(self):
        for one in self._clients:
            one.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for one in self._clients:
            one.join()

    def wait(self, seconds=60):
        """Until each client has an answer to a request that began after now: its next but one."""
        enough = [count + 2 for count in self._answered]
        deadline = time.monotonic() + seconds
        while any(map(operator.lt, self._answered, enough)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def refused(self):
        """The bodies of answers that are no transcription."""
        return [answer.text for answer in self.answers if answer.status_code != 200]

    def _ask(self, number, fields):
        while not self._ended.is_set():
            self.answers.append(self._server.transcribe(MAYDAY, **fields))
            self._answered[number] += 1

"""A receiver of webhooks, on a socket of its own."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Answers with `statuses`, one after another, the last for good; `got` are the requests'
    headers and bodies. Where `hangs` is set it never answers; `content` is what it answers with."""

    def __init__(self):
        self.statuses, self.got, self.hangs, self.location = [200], [], None, None
        self.content = b""

    def handle(self, request):
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        self.got.append((dict(request.headers), body))
        if self.hangs:
            self.hangs.wait(60)
            return
        request.send_response(self.statuses[min(len(self.got), len(self.statuses)) - 1])
        if self.location:
            request.send_header("location", self.location)
        request.send_header("content-length", str(len(self.content)))
        request.end_headers()
        request.wfile.write(self.content)


@contextmanager
def receiving():
    """A receiver, and its URL."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            receiver.handle(self)

        def do_GET(self):
            receiver.handle(self)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver, f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            if receiver.hangs:
                receiver.hangs.set()
            server.shutdown()
            thread.join()

"""An engine's process without vLLM: it does what the name it is started with says."""

import time

from app.models.base import LanguageDetection
from app.models.whisper_vllm.decoder import Step
from app.models.whisper_vllm.messages import (
    Abort,
    Answer,
    Arrived,
    Call,
    Decode,
    Failed,
    Figures,
    Ready,
    Refused,
    Steps,
    Stop,
)

FIRST = LanguageDetection({"en": 1.0}, 0.0)


def run(connection, start):
    """Stand for engine_link._run."""
    if start.name == "broken":
        connection.send(Failed("no such weights"))
        return
    if start.name == "dead":
        return
    connection.send(Ready())
    if start.name == "deaf":
        time.sleep(60)
    aborted = []
    while not isinstance(asked := connection.recv(), Stop):
        match asked:
            case Decode():
                decode(connection, start.name, asked)
            case Abort(number):
                aborted.append(number)
            case Call(number, "aborted"):
                connection.send(Answer(number, aborted))
            case Call(number, "fail"):
                connection.send(Refused(number, "ZeroDivisionError"))
            case Call(number, method, arguments):
                connection.send(Answer(number, {method: arguments}))
    if start.name == "stubborn":
        time.sleep(60)


def decode(connection, name, asked):
    """A first step, and unless it is endless a last one; or a refusal."""
    if name == "refusing":
        connection.send(Refused(asked.number, "ValueError: too long"))
        return
    connection.send(Steps((Arrived(asked.number, Step((), FIRST)),)))
    if name == "endless":
        return
    if name == "giving up":
        connection.send(Steps((Arrived(asked.number, Step(()), given_up="error"),)))
        return
    heard = int(asked.request.window.pcm.sum())
    connection.send(Figures(()))
    last = Step(((heard, -0.1), (asked.max_tokens, -0.2)), ended="text")
    connection.send(Steps((Arrived(asked.number, last, (0.01, 0.02), queued=0.5),)))

from app.asr.formats import json_body, text_body, verbose_body
from app.asr.transcript import Finished, Segment

SEGMENT = Segment(30_120, 32_400, " Mayday.", (5, 6), 30_000, 0.0, -0.25, 1.1, 0.01)
TRANSCRIPT = Finished("zh", 33.0004, "Mayday.", (SEGMENT,))


def test_json_carries_text_and_usage():
    usage = {"type": "duration", "seconds": 33.0}
    assert json_body(TRANSCRIPT) == {"text": "Mayday.", "usage": usage}


def test_text_is_a_line():
    assert text_body(TRANSCRIPT) == "Mayday.\n"


def test_verbose_json_names_the_language_and_carries_every_segment_field():
    body = verbose_body(TRANSCRIPT)
    assert (body["language"], body["duration"], body["task"]) == ("chinese", 33.0, "transcribe")
    assert body["segments"] == [
        {
            "id": 0,
            "seek": 3000,
            "start": 30.12,
            "end": 32.4,
            "text": " Mayday.",
            "tokens": [5, 6],
            "temperature": 0.0,
            "avg_logprob": -0.25,
            "compression_ratio": 1.1,
            "no_speech_prob": 0.01,
        }
    ]

"""A transcript as the bodies OpenAI's clients parse."""

from typing import Any

from app.asr.languages import NAMES
from app.asr.transcript import Finished, Segment

_FRAME_MS = 10  # Whisper's hop: `seek` counts mel frames


def json_body(transcript: Finished) -> dict[str, Any]:
    return {"text": transcript.text, "usage": _usage(transcript)}


def text_body(transcript: Finished) -> str:
    return transcript.text + "\n"


def verbose_body(transcript: Finished) -> dict[str, Any]:
    return {
        "task": "transcribe",
        "language": NAMES.get(transcript.language, transcript.language),
        "duration": round(transcript.duration_s, 3),
        "text": transcript.text,
        "segments": [_segment(i, s) for i, s in enumerate(transcript.segments)],
        "usage": _usage(transcript),
    }


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": segment.window_start_ms // _FRAME_MS,
        "start": segment.start_ms / 1000,
        "end": segment.end_ms / 1000,
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _usage(transcript: Finished) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(transcript.duration_s, 3)}

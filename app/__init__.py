"""Marlinscribe: 4-bit Whisper behind OpenAI's transcription API, on your own hardware."""

__version__ = "0.1.0"

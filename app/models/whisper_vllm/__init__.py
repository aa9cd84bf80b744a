"""Whisper, decoded by vLLM."""

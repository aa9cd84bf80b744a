"""Bytes to waveform to windows."""

"""Recordings with known words: for calibration, proof and evaluation."""

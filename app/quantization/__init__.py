"""Quantization as a service: requests, making, proof, promotion."""

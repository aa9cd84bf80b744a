"""Quantization as a service: orders, making, proof, promotion."""

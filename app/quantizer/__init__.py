"""The quantizer's process: llm-compressor in an environment of its own."""

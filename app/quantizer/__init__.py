"""The quantizer's child process: llm-compressor, on packages of its own."""

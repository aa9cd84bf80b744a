"""Windows to tokens to transcript."""

"""How a checkpoint has its embedding, which is its output projection too, in eight bits.

compressed-tensors has names for such an embedding's weights and scales, which are taken here, but
neither vLLM nor transformers load one that is tied to the output projection. So config.json says it
in an entry of its own, and it is this service that reads it.

A token's row is weight * scale / smoothing. The projection takes weight * scale, and of what comes
in smoothing times less: an input that is far larger than the others leaves them few of eight bits
(SmoothQuant, Xiao et al., arXiv:2211.10438).
"""

EMBEDDING = "model.decoder.embed_tokens"
WEIGHT = f"{EMBEDDING}.weight"  # int8, shape (vocabulary, width)
SCALE = f"{EMBEDDING}.weight_scale"  # shape (vocabulary, 1)
SMOOTHING = f"{EMBEDDING}.smoothing"  # shape (width,)
ENTRY = "embedding_scheme"  # in config.json: "W8A8", or it is missing

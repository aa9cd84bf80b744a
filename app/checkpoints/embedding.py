"""How a checkpoint says that its embedding, which is its output projection too, has eight bits.

compressed-tensors has names for the tensors of an embedding in eight bits, which are taken here,
but neither vLLM nor transformers load one that is tied to the output projection. So config.json
says it in an entry of its own, and it is this service that reads it.
"""

EMBEDDING = "model.decoder.embed_tokens"
WEIGHT = f"{EMBEDDING}.weight"  # int8, shape (vocabulary, width)
SCALE = f"{EMBEDDING}.weight_scale"  # shape (vocabulary, 1)
ENTRY = "embedding_scheme"  # in config.json: "W8A8", or it is missing

"""OpenAI's SDK for Python as speech integrations of Home Assistant use it: which models are there,
and then a stream."""

import json
import sys

import openai

asked = json.load(sys.stdin)
client = openai.OpenAI(base_url=f"{asked['url']}/v1", api_key=asked["key"])
models = [model.id for model in client.models.list()]
with open(asked["file"], "rb") as file:
    events = client.audio.transcriptions.create(
        model="whisper-1", file=file, response_format="json", stream=True
    )
    text = "".join(event.delta for event in events if event.type == "transcript.text.delta")
json.dump({"models": models, "text": text}, sys.stdout)

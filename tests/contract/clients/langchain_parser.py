"""OpenAI's SDK for Python as LangChain's `OpenAIWhisperParser` calls it: pieces of mp3 in memory,
each with a name that says where it is from."""

import io
import json
import sys

import openai

asked = json.load(sys.stdin)
client = openai.OpenAI(api_key=asked["key"], base_url=f"{asked['url']}/v1")
with open(asked["file"], "rb") as file:
    piece = io.BytesIO(file.read())
piece.name = f"{asked['file']}_part_0.mp3"
answer = client.audio.transcriptions.create(model="whisper-1", file=piece, language="en")
json.dump(answer.text, sys.stdout)

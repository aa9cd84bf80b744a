"""OpenAI's SDK for Python, as it talks to Azure."""

import json
import sys

import openai

asked = json.load(sys.stdin)
client = openai.AzureOpenAI(
    azure_endpoint=asked["url"], api_key=asked["key"], api_version="2024-10-21"
)
with open(asked["file"], "rb") as file:
    answer = client.audio.transcriptions.create(model="whisper", file=file)
json.dump(answer.text, sys.stdout)

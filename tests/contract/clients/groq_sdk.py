"""Groq's SDK for Python, told of this server's address: a recording, and a batch whose line is that
of Groq's documentation. The recording is in the line, since the service fetches none unless it is
set to."""

import base64
import json
import sys
import time

import groq

ENDPOINT = "/v1/audio/transcriptions"
asked = json.load(sys.stdin)
client = groq.Groq(api_key=asked["key"], base_url=asked["url"])


def recording():
    with open(asked["file"], "rb") as file:
        return client.audio.transcriptions.create(
            model="whisper-large-v3-turbo", file=file, language="en", response_format="verbose_json"
        ).text


def batch():
    file = client.files.create(file=("batch_file.jsonl", line()), purpose="batch")
    one = client.batches.create(completion_window="24h", endpoint=ENDPOINT, input_file_id=file.id)
    while one.status not in ("completed", "failed", "expired", "cancelled"):
        time.sleep(0.2)
        one = client.batches.retrieve(one.id)
    told = json.loads(client.files.content(one.output_file_id).text())
    return told["response"]["body"]["text"]


def line():
    with open(asked["file"], "rb") as file:
        data = base64.b64encode(file.read()).decode()
    body = {
        "model": "whisper-large-v3",
        "language": "en",
        "url": f"data:audio/mpeg;base64,{data}",
        "response_format": "verbose_json",
        "timestamp_granularities": ["segment"],
    }
    one = {"custom_id": "job-cb6d01f6-1", "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(one).encode()


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](), sys.stdout)

"""OpenAI's SDK for Python with a batch whose line is that of Groq's documentation; the recording is
in the line, since the service fetches none unless it is set to."""

import base64
import json
import sys
import time

import openai

ENDPOINT = "/v1/audio/transcriptions"
asked = json.load(sys.stdin)
client = openai.OpenAI(api_key=asked["key"], base_url=f"{asked['url']}/v1")
with open(asked["file"], "rb") as recording:
    data = base64.b64encode(recording.read()).decode()
body = {
    "model": "whisper-large-v3",
    "language": "en",
    "url": f"data:audio/mpeg;base64,{data}",
    "response_format": "verbose_json",
    "timestamp_granularities": ["segment"],
}
line = json.dumps({"custom_id": "job-cb6d01f6-1", "method": "POST", "url": ENDPOINT, "body": body})
file = client.files.create(file=("batch_file.jsonl", line.encode()), purpose="batch")
batch = client.batches.create(completion_window="24h", endpoint=ENDPOINT, input_file_id=file.id)
while batch.status not in ("completed", "failed", "expired", "cancelled"):
    time.sleep(0.2)
    batch = client.batches.retrieve(batch.id)
told = json.loads(client.files.content(batch.output_file_id).text)
json.dump(told["response"]["body"]["text"], sys.stdout)

"""Programs that call with `requests`, each as its own code does. The way on the command line, the
server and the recordings on standard input; what the program would use on standard output."""

import base64
import json
import sys

import requests

asked = json.load(sys.stdin)
bearer = {"Authorization": f"Bearer {asked['key']}"}


def bazarr(path, **params):
    """Bazarr sends no key: the service is open to it, or a proxy adds one."""
    session = requests.Session()
    session.headers["User-Agent"] = "Subliminal/2.1"
    session.headers["x-api-key"] = asked["key"]
    with open(asked["raw"], "rb") as file:
        out = file.read()
    return session.post(
        f"{asked['url']}{path}", params=params, files={"audio_file": out}, timeout=(30, 300)
    )


def bazarr_asr():
    query = {"task": "transcribe", "language": "en", "output": "srt", "encode": "false"}
    return bazarr("/asr", **query).content.decode()


def bazarr_language():
    return bazarr("/detect-language", encode="false").json()


def open_webui():
    with open(asked["file"], "rb") as file:
        answer = requests.post(
            url=f"{asked['url']}/v1/audio/transcriptions",
            headers=bearer,
            files={"file": ("recording.mp3", file)},
            data={"model": "Systran/faster-whisper-large-v3", "language": "en"},
        )
    answer.raise_for_status()
    return answer.json()["text"]


def openrouter():
    with open(asked["file"], "rb") as file:
        data = base64.b64encode(file.read()).decode("utf-8")
    answer = requests.post(
        f"{asked['url']}/v1/audio/transcriptions",
        headers=bearer | {"Content-Type": "application/json"},
        json={
            "model": "openai/whisper-large-v3",
            "input_audio": {"data": data, "format": "mp3"},
            "language": "en",
        },
    )
    answer.raise_for_status()
    return answer.json()["text"]


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](), sys.stdout)

"""Programs that call with `requests`, each as its own code does. The way on the command line, the
server and the recordings on standard input; what the program would use on standard output."""

import base64
import io
import json
import sys
import wave

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
    """The same for every name that is found in its settings."""
    names = ["whisper-large-v3-turbo", "base", "Systran/faster-whisper-large-v3"]
    (text,) = {_open_webui(name) for name in names}
    return text


def _open_webui(model):
    with open(asked["file"], "rb") as file:
        answer = requests.post(
            url=f"{asked['url']}/v1/audio/transcriptions",
            headers=bearer,
            files={"file": ("recording.mp3", file)},
            data={"model": model, "language": "en"},
        )
    answer.raise_for_status()
    return answer.json()["text"]


def home_assistant():
    """fabio-garavini's integration: its model must be listed, then a command is sent as a WAV."""
    listed = requests.get(
        url=f"{asked['url']}/v1/models", headers=bearer | {"Content-Type": "application/json"}
    )
    if "whisper-1" not in [model.get("id") for model in listed.json().get("data", [])]:
        raise SystemExit(f"no whisper-1 in {listed.text}")
    sound = io.BytesIO()
    with open(asked["raw"], "rb") as file, wave.open(sound, "wb") as wav:
        wav.setnchannels(1)
        wav.setframerate(16_000)
        wav.setsampwidth(2)
        wav.writeframes(file.read())
    sound.seek(0)
    answer = requests.post(
        f"{asked['url']}/v1/audio/transcriptions",
        headers=bearer,
        files={"file": ("audio.wav", sound, "audio/wav")},
        data={"model": "whisper-1", "language": "en", "temperature": 0, "prompt": ""},
    )
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

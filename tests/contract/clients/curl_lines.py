"""Command lines of curl, as pages and programs have them. The way on the command line, the server
and the recording on standard input; what is in the answer on standard output."""

import json
import subprocess
import sys

asked = json.load(sys.stdin)
BEARER = ["-H", f"authorization: Bearer {asked['key']}"]


def curl(path, *arguments):
    command = ["curl", "-sS", "--fail-with-body", f"{asked['url']}{path}", *arguments]
    command += ["-F", f"file=@{asked['file']}"]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def whisper_cpp():
    """The README of its server."""
    return _inference("json")["text"]


def whisper_cpp_verbose():
    return _inference("verbose_json")


def _inference(wanted):
    form = ["-H", "Content-Type: multipart/form-data", "-F", "temperature=0.0"]
    form += ["-F", "temperature_inc=0.2", "-F", f"response_format={wanted}"]
    return curl("/inference", *form, *BEARER)


def n8n():
    fields = ["-F", "model=whisper-1", "-F", "language=en", "-F", "temperature=0"]
    return curl("/v1/audio/transcriptions", *fields, *BEARER)["text"]


def no_version():
    key = ["-H", f"x-api-key: {asked['key']}"]
    return curl("/audio/transcriptions", "-F", "model=whisper-1", *key)["text"]


def head():
    """Who looks whether it is there, as load balancers do."""
    command = ["curl", "-sS", "--fail", "-I", f"{asked['url']}/health"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[1]


if __name__ == "__main__":
    json.dump(globals()[sys.argv[1]](), sys.stdout)

"""OpenAI's SDK for Python, synchronous. Cases on standard input, outcomes on standard output."""

import json
import sys
from typing import Any

import openai


def ask(client: openai.OpenAI, case: dict[str, Any]) -> dict[str, Any]:
    create = getattr(client.audio, case["task"]).create
    with open(case["file"], "rb") as file:
        answer = create(file=file, **case["fields"])
        if case["fields"].get("stream"):
            return {"events": [event.model_dump(exclude_unset=True) for event in answer]}
    return {"body": answer if isinstance(answer, str) else answer.model_dump(exclude_unset=True)}


def outcome(error: openai.APIError) -> dict[str, Any]:
    status = getattr(error, "status_code", None)
    return {
        "error": {
            "class": type(error).__name__,
            "status": status,
            "code": error.code,
            "param": error.param,
        }
    }


def main() -> None:
    outcomes = []
    for case in json.load(sys.stdin):
        client = openai.OpenAI(
            base_url=case["url"], api_key=case["key"], max_retries=case["retries"]
        )
        try:
            outcomes.append(ask(client, case))
        except openai.APIError as error:
            outcomes.append(outcome(error))
    json.dump(outcomes, sys.stdout)


if __name__ == "__main__":
    main()

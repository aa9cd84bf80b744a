"""LiteLLM, as a gateway calls a server of OpenAI's kind."""

import json
import sys
from typing import Any

import litellm
import openai


def ask(case: dict[str, Any]) -> dict[str, Any]:
    fields = dict(case["fields"])
    model = f"openai/{fields.pop('model')}"
    try:
        with open(case["file"], "rb") as file:
            answer = litellm.transcription(
                model=model, file=file, api_base=case["url"], api_key=case["key"],
                max_retries=case["retries"], **fields,
            )  # fmt: skip
    except openai.APIStatusError as error:  # LiteLLM's own errors are subclasses
        return {
            "error": {
                "class": type(error).__name__,
                "status": error.status_code,
                "code": error.code,
                "param": error.param,
            }
        }
    if fields.get("response_format", "json").endswith("json"):
        return {"body": answer.model_dump()}
    return {"body": answer.text}


if __name__ == "__main__":
    json.dump([ask(case) for case in json.load(sys.stdin)], sys.stdout)

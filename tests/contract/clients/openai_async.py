"""OpenAI's SDK for Python, asynchronous, all cases at once."""

import asyncio
import json
import sys
from typing import Any

import openai

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from openai_sync import outcome


async def ask(case: dict[str, Any]) -> dict[str, Any]:
    async with openai.AsyncOpenAI(
        base_url=case["url"], api_key=case["key"], max_retries=case["retries"]
    ) as client:
        try:
            create = getattr(client.audio, case["task"]).create
            with open(case["file"], "rb") as file:
                answer = await create(file=file, **case["fields"])
                if case["fields"].get("stream"):
                    events = [event.model_dump(exclude_unset=True) async for event in answer]
                    return {"events": events}
        except openai.APIError as error:
            return outcome(error)
    return {"body": answer if isinstance(answer, str) else answer.model_dump(exclude_unset=True)}


async def main() -> None:
    json.dump(await asyncio.gather(*map(ask, json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

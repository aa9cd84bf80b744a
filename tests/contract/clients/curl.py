"""curl's command line."""

import json
import subprocess
import sys
from typing import Any


def ask(case: dict[str, Any]) -> dict[str, Any]:
    command = ["curl", "-sSN", "-w", "\n%{http_code}", "-F", f"file=@{case['file']}"]
    command += ["-H", f"authorization: Bearer {case['key']}"]
    for name, value in case["fields"].items():
        for one in value if isinstance(value, list) else [value]:
            sent = str(one).lower() if isinstance(one, bool) else one
            command += ["-F", f"{name}{'[]' if isinstance(value, list) else ''}={sent}"]
    command.append(f"{case['url']}/audio/{case['task']}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    if status != "200":
        error = json.loads(body)["error"]
        return {"error": {"status": int(status), "code": error["code"], "param": error["param"]}}
    if case["fields"].get("stream"):
        data = [line[6:] for line in body.splitlines() if line.startswith("data: ")]
        assert data.pop() == "[DONE]"
        return {"events": [json.loads(one) for one in data]}
    wanted = case["fields"].get("response_format", "json")
    return {"body": json.loads(body) if wanted.endswith("json") else body}


if __name__ == "__main__":
    json.dump([ask(case) for case in json.load(sys.stdin)], sys.stdout)

"""What the dashboard shows, and what each panel advises. python -m deploy.grafana.dashboard (make
dashboard) writes it as dashboards/marlinscribe.json.
"""

import json
from pathlib import Path

from deploy.grafana.grammar import (
    BLUE,
    GREEN,
    RED,
    SPEECH,
    TIMES,
    YELLOW,
    Row,
    bars,
    chosen,
    coloured,
    dashboard,
    lines,
    mean,
    ours,
    panel,
    process,
    quantiles,
    rate,
    stat,
    steps,
)

FILE = Path(__file__).parent / "dashboards" / "marlinscribe.json"

_FIRING = 'count(ALERTS{alertname=~"Marlinscribe.+", alertstate="firing"}) or vector(0)'
_YES_NO = [{"type": "value", "options": {"1": {"text": "yes"}, "0": {"text": "no"}}}]
_IDLE = 'stage="idle"'
_STATUSES = {"2..": GREEN, "4..": YELLOW, "499": BLUE, "5..": RED}

GLANCE: Row = [
    (3, 4, stat(
        "Ready", "Whether transcriptions are answered. No: /health/ready says why, and what to do.",
        # An engine that was put away comes back for the next request.
        {"": f"min(max by (instance, model) ({ours('ready')} or {ours('stage', _IDLE)}))"},
        mappings=_YES_NO, thresholds=steps((None, RED), (1, GREEN)),
    )),
    (4, 4, stat(
        "Stage", "Where the service is; /health/ready has the stage's progress.",
        {"{{model}}  {{stage}}": f"{ours('stage')} == 1"}, name=True,
    )),
    (3, 4, stat(
        "Alerts", "That fire now. Prometheus lists them under /alerts, and each has a section in "
        "docs/operations.md.",
        {"": _FIRING}, thresholds=steps((None, GREEN), (1, RED)),
    )),
    (3, 4, stat(
        "Failed", "Transcriptions answered 5xx and streams that broke, of all answered 2xx or 5xx, "
        "in 10 minutes; refusals because of load, and 503 while it is not ready, are not among "
        "them. Over 5 % rings.",
        {"": f"max(marlinscribe:transcriptions_failed:ratio10m{chosen()})"},
        unit="percentunit", noValue="0 %",
        thresholds=steps((None, GREEN), (0.01, YELLOW), (0.05, RED)),
    )),
    (3, 4, stat(
        "Slow", "Transcriptions that took longer than their audio lasts, in 10 minutes. The budget "
        "is 5 %.",
        {"": f"max(marlinscribe:transcriptions_slow:ratio10m{chosen()})"},
        unit="percentunit", noValue="0 %",
        thresholds=steps((None, GREEN), (0.02, YELLOW), (0.05, RED)),
    )),
    (4, 4, stat(
        "Queue", "How full the service is of what it lets in, by audio that waits or by requests "
        "in flight. When it is full, new ones are refused.",
        {"": f"max(marlinscribe:queue:ratio{chosen()})"},
        unit="percentunit", thresholds=steps((None, GREEN), (0.5, YELLOW), (0.7, RED)),
    )),
    (4, 4, stat(
        "Transcribed in a day", "Length of the audio whose text was told in the last 24 hours.",
        {"": f"sum(increase({ours('audio_transcribed_seconds_total')}[24h]))"},
        unit="s", thresholds=steps((None, BLUE)),
    )),
    (14, 3, stat(
        "Model", "The checkpoint that serves, its scheme, and the kernels that run it. On a card, "
        "a W4A16 kernel that is not Marlin: see MARLINSCRIBE_LINEAR_BACKEND.",
        {"{{model}}  {{scheme}}  {{kernel}}": ours("model_info")}, name=True,
    )),
    (10, 3, stat(
        "Version", "What runs: give it with every report of a defect.",
        {"{{version}}  vLLM {{vllm}}  Python {{python}}": ours("build_info")}, name=True,
    )),
]  # fmt: skip

LATENCY: Row = [
    (12, 8, lines(
        "Whole request", "Transcriptions, first byte to last, uploads included. It grows with the "
        "audio's length, so judge slowness by RTFx. Where this grows and RTFx does not fall, "
        "recordings or uploads became longer.",
        quantiles("request_duration_seconds", SPEECH), unit="s",
    )),
    (12, 8, lines(
        "Time to first token", "From the upload's end: decoding, the queue, the encoder. Where it "
        "grows while tokens come as fast as before, requests queue.",
        quantiles("time_to_first_token_seconds"), unit="s",
    )),
    (12, 8, lines(
        "Between tokens", "Of one window. Where it grows the engine is short of compute: other "
        "work beside it, or more windows at once.",
        quantiles("inter_token_latency_seconds"), unit="s",
    )),
    (12, 8, lines(
        "Where the time goes", "Mean of each stage. Upload: the client or the network. Decode: "
        "FFmpeg, on the processor. The queues: load. First token is from the upload's end, so "
        "decode and the queues are part of it.",
        {
            "upload": mean("upload_duration_seconds"),
            "decoder's queue": mean("decode_queue_duration_seconds"),
            "decode": mean("audio_decode_duration_seconds"),
            "speech": mean("vad_duration_seconds"),
            "queue": mean("queue_duration_seconds"),
            "engine's queue": mean("window_queue_duration_seconds"),
            "first token": mean("time_to_first_token_seconds"),
            "a window's words": mean("alignment_duration_seconds"),
        },
        unit="s",
    )),
]  # fmt: skip

SPEED: Row = [
    (8, 8, lines(
        "RTFx of requests", "Seconds of audio a second of processing, waiting included. One "
        "request in twenty is slower than p5; under 1 it takes longer than its audio lasts.",
        quantiles("rtfx", of=(0.05, 0.5, 0.95)), unit=TIMES,
    )),
    (8, 8, lines(
        "Audio throughput", "Received and transcribed, beside what the engine did when it was last "
        "busy. Where more is received for long, the queue fills.",
        {
            "received": f"sum({rate('audio_received_seconds_total')})",
            "transcribed": f"sum({rate('audio_transcribed_seconds_total')})",
            "capacity": f"sum({ours('capacity_rtfx')})",
        },
        unit=TIMES,
    )),
    (8, 8, lines(
        "Tokens", "What the engine writes in a second.",
        {"tokens": f"sum(rate(vllm:generation_tokens_total{chosen()}[$__rate_interval]))"},
    )),
]  # fmt: skip

QUEUE: Row = [
    (8, 8, lines(
        "Audio in line", "Seconds of audio that wait for their turn, and how many may. Near the "
        "limit ask who sends so much, or raise capacity.",
        {
            "waiting": f"sum({ours('audio_queued_seconds')})",
            "limit": f"sum({ours('audio_queue_limit_seconds')})",
        },
        unit="s", overrides=coloured({"limit": RED}),
    )),
    (8, 8, lines(
        "Requests", "Transcriptions being received or answered, those of which audio waits, and "
        "how many may be there. Many requests with few windows: slow uploads, or decoding.",
        {
            "in flight": f"sum({ours('requests_in_flight')})",
            "waiting": f"sum({ours('requests_queued')})",
            "limit": f"sum({ours('requests_limit')})",
        },
        overrides=coloured({"limit": RED}),
    )),
    (8, 8, lines(
        "Windows", "Pieces of up to 30 s. How many run is limited by memory, or by "
        "MARLINSCRIBE_MAX_WINDOWS.",
        {
            "in the engine": f"sum({ours('windows_in_flight')})",
            "in line": f"sum({ours('windows_queued')})",
        },
    )),
    (8, 8, lines(
        "Wait", "From decoded to the first window's turn. It is what load costs a client.",
        quantiles("queue_duration_seconds"), unit="s",
    )),
    (8, 8, lines(
        "Refused", "Refused with a Retry-After, by error code: docs/reference.md has each.",
        {"{{code}}": f"sum by (code) ({rate('requests_refused_total')})"},
        unit="reqps", stacked=True,
    )),
    (8, 8, lines(
        "Left and joined", "Clients that left before their answer, and retries that joined the "
        "work left behind. Many: timeouts too short for what is sent.",
        {
            "left": f"sum({rate('client_aborts_total')})",
            "joined": f"sum({rate('requests_joined_total')})",
        },
        unit="reqps",
    )),
]  # fmt: skip

ENGINE: Row = [
    (24, 6, panel(
        "state-timeline", "Stage over time", "What the service was doing. Gaps in ready are "
        "exchanges of checkpoints, jobs that took the device, or an engine that was lost: see the "
        "restarts.",
        {"{{model}}  {{stage}}": f"{ours('stage')} == 1"},
        mappings=[{"type": "value", "options": {"1": {"text": " ", "color": BLUE}}}],
        custom={"fillOpacity": 70, "spanNulls": False},
        options={"showValue": "never", "legend": {"showLegend": False}, "rowHeight": 0.8},
    )),
    (8, 8, lines(
        "KV cache in use", "vLLM's memory for keys and values. Near 100 % with windows waiting in "
        "vLLM: fewer windows, or more memory (MARLINSCRIBE_KV_CACHE_BYTES).",
        {"in use": f"max(vllm:kv_cache_usage_perc{chosen()})"}, unit="percentunit", max=1,
    )),
    (8, 8, lines(
        "Windows in vLLM", "Running and waiting in its own scheduler. Waiting for long: see the KV "
        "cache.",
        {
            "running": f"sum(vllm:num_requests_running{chosen()})",
            "waiting": f"sum(vllm:num_requests_waiting{chosen()})",
        },
    )),
    (8, 8, lines(
        "Engine started again", "In 15 minutes, by reason. The log tells what came before.",
        {"{{reason}}": f"sum by (reason) (increase({ours('engine_restarts_total')}[15m]))"},
        decimals=0,
    )),
    (12, 8, lines(
        "Memory of the service", "Resident, of the HTTP process; the engine is another one. "
        "Uploads and long recordings raise it, and it must come back down.",
        {"resident": process("process_resident_memory_bytes")}, unit="bytes",
    )),
    (12, 8, lines(
        "Processor time of the service", "Cores in use by the HTTP process, FFmpeg included.",
        {"cores": process("rate(process_cpu_seconds_total[$__rate_interval])")},
    )),
]  # fmt: skip

ERRORS: Row = [
    (8, 8, lines(
        "Transcriptions by status", "2xx green, the client's own mistakes yellow, clients that "
        "left (499) blue, ours red.",
        {"{{status}}": f"sum by (status) ({rate('requests_total', SPEECH)})"},
        unit="reqps", stacked=True, overrides=coloured(_STATUSES),
    )),
    (8, 8, lines(
        "Failed, of transcriptions", "5xx and streams that broke, of 2xx and 5xx, over 10 minutes, "
        "without refusals because of load and 503 while it is not ready. The alert fires above the "
        "line.",
        {"failed": f"max(marlinscribe:transcriptions_failed:ratio10m{chosen()})"},
        unit="percentunit", limit=0.05,
    )),
    (8, 8, lines(
        "Broken streams", "Streams that began, with status 200, and ended in an error: its "
        "code.",
        {"{{code}}": f"sum by (code) ({rate('stream_errors_total', SPEECH)})"},
        unit="reqps", stacked=True,
    )),
    (24, 8, lines(
        "All other routes", "5xx here are a defect or, of /health/ready, a service that is not "
        "ready.",
        {
            "{{route}} {{status}}": "sum by (route, status) "
            + f"({rate('requests_total', SPEECH.replace('=~', '!~'))})"
        },
        unit="reqps", stacked=True,
    )),
]  # fmt: skip

JOBS: Row = [
    (6, 8, bars(
        "Jobs", "In the records, by status. GET /quantize tells each one's error.",
        {"{{status}}": f"sum by (status) ({ours('jobs')})"},
    )),
    (6, 8, bars(
        "Progress", "Of the stage of the job that runs. GET /quantize/{id}/events tells how long "
        "it will take.",
        {"{{stage}}": f"max by (stage) ({ours('job_progress_ratio')})"}, unit="percentunit", max=1,
    )),
    (6, 8, bars(
        "Error rates in the last proof", "WER or CER of source and candidate. It is their "
        "difference that counts, and that the recordings are yours.",
        {
            "{{language}} {{metric}} {{side}}": "max by (language, metric, side) "
            + f"({ours('proof_error_ratio')})"
        },
        unit="percentunit",
    )),
    (6, 8, bars(
        "Recovery in the last proof", "The source's error rate by the candidate's. Under 90 % a "
        "job is rejected, unless its order says otherwise.",
        {"{{language}}": f"max by (language) ({ours('proof_recovery_ratio')})"},
        unit="percentunit", thresholds=steps((None, RED), (0.9, YELLOW), (0.97, GREEN)),
    )),
    (12, 8, lines(
        "Stages' duration", "Mean of the stages that ended.",
        {"{{stage}}": mean("job_stage_duration_seconds", by="stage")}, unit="s",
    )),
    (12, 8, lines(
        "Jobs ended", "In an hour, by how. Failed: GET /quantize/{id} has the reason.",
        {"{{status}}": f"sum by (status) (increase({ours('jobs_ended_total')}[1h]))"},
        decimals=0, overrides=coloured({"failed": RED, "rejected": YELLOW, "promoted": GREEN}),
    )),
]  # fmt: skip

BACKGROUND: Row = [
    (6, 8, bars(
        "Jobs", "Transcriptions in the background, by status.",
        {"{{status}}": f"sum by (status) ({ours('background_jobs')})"},
    )),
    (6, 8, lines(
        "Ended", "In an hour, by how. Failed: the job has the reason.",
        {"{{status}}": f"sum by (status) (increase({ours('background_jobs_ended_total')}[1h]))"},
        decimals=0, overrides=coloured({"failed": RED, "completed": GREEN}),
    )),
    (6, 8, lines(
        "Work", "Windows a second that are decoded behind all that somebody waits for, and "
        "attempts to deliver a webhook.",
        {
            "windows": f"sum({rate('background_windows_kept_total')})",
            "webhook {{outcome}}": f"sum by (outcome) ({rate('webhook_attempts_total')})",
        },
    )),
    (6, 8, lines(
        "Disk", "Recordings that wait, and results. MARLINSCRIBE_BACKGROUND_BYTES bounds it.",
        {"stored": f"sum({ours('background_stored_bytes')})"}, unit="bytes",
    )),
]  # fmt: skip

ROWS = {
    "": GLANCE,
    "Latency": LATENCY,
    "Speed": SPEED,
    "Queue": QUEUE,
    "Engine": ENGINE,
    "Errors": ERRORS,
    "In the background": BACKGROUND,
    "Quantization": JOBS,
}


def written() -> str:
    return json.dumps(dashboard(ROWS), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), "utf-8")

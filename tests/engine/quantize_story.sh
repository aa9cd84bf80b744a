#!/usr/bin/env bash
# The life of a checkpoint, told with curl: made, proven, promoted, transcribing; a bad one rejected;
# one that fails its canaries turned away; the promoted one rolled back.
#
#     quantize_story.sh URL ADMIN_KEY DEMO WORK
#
# DEMO is the demo's folder as the server sees it; WORK one that it may read (MARLINSCRIBE_DATA_ROOTS).
set -euo pipefail
url=$1 key=$2 demo=$3 work=$4

admin() { curl --silent --show-error --fail-with-body -H "authorization: Bearer $key" "$@"; }
# field PATH: one field of the JSON on standard input, such as error.code
field() { python3 -c 'import functools, json, sys
print(functools.reduce(lambda at, name: at[name], sys.argv[1].split("."), json.load(sys.stdin)))' "$1"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
same() { [ "$2" = "$3" ] || fail "$1: $2, not $3"; }

served() { curl -sf "$url/v1/models" | python3 -c 'import json, sys
print(json.load(sys.stdin)["data"][0]["marlinscribe"]["fingerprint"])'; }
# watch ID: its events to the end, a line each; then its status
watch() {
  admin -N "$url/quantize/$1/events" | grep --line-buffered '^data: {' | cut -c1-160 >&2
  admin "$url/quantize/$1" | field status
}
proof='"proof": {"sources": "'$demo/recordings/test'", "samples": 8, "mix": {"en": 1, "zh": 1}}'

echo "== make and prove"
first=$(served)
order='{"recipe": {"method": "rtn", "group_size": 64}, '$proof', "thresholds": {"min_recovery": 0.2}}'
id=$(admin "$url/quantize" -d "$order" | field id)
same "a sound candidate" "$(watch "$id")" proven
made=$(admin "$url/quantize/$id" | field checkpoint.fingerprint)
[ "$made" != "$first" ] || fail "it is the checkpoint that was served already"
admin "$url/quantize/$id/report" | grep -q "</html>" || fail "the report is no page"

echo "== ask again: the same job answers"
same "the second answer" "$(admin -o /dev/null -w '%{http_code}' "$url/quantize" -d "$order")" 200
same "its job" "$(admin "$url/quantize" -d "$order" | field id)" "$id"

echo "== promote, and transcribe"
admin -X POST "$url/quantize/$id/promote" >/dev/null
same "promoted" "$(watch "$id")" promoted
same "what serves" "$(served)" "$made"
heard=$(curl -sf -F file=@"$demo/recordings/radio.mp3" "$url/v1/audio/transcriptions" | field text)
same "mayday" "$heard" "$(cat "$demo/recordings/radio.txt")"

echo "== a candidate broken on purpose: two bits"
order='{"recipe": {"method": "rtn", "scheme": "W2A16", "emulate": true}, '$proof'}'
broken=$(admin "$url/quantize" -d "$order" | field id)
same "a broken candidate" "$(watch "$broken")" rejected
admin "$url/quantize/$broken" | field proof.reasons
refused=$(curl -s -X POST -H "authorization: Bearer $key" "$url/quantize/$broken/promote")
same "promoting what was rejected" "$(field error.code <<<"$refused")" conflict
same "what serves" "$(served)" "$made"

echo "== a promotion whose canaries fail: their words are another recording's"
order='{"recipe": {"method": "rtn", "group_size": 32}, '$proof', "thresholds": {"min_recovery": 0.2}}'
other=$(admin "$url/quantize" -d "$order" | field id)
same "another sound candidate" "$(watch "$other")" proven
cp "$demo/recordings/radio.mp3" "$work/canary.mp3"
echo "Weather forecast for the morning, light wind from the east." > "$work/canary.txt"
admin "$url/quantize/$other/promote" -d '{"canaries": {"sources": "'"$work"'"}}' >/dev/null
same "after its canaries" "$(watch "$other")" proven
same "why" "$(admin "$url/quantize/$other" | field error.code)" canary_failed
same "what serves" "$(served)" "$made"
heard=$(curl -sf -F file=@"$demo/recordings/radio.mp3" "$url/v1/audio/transcriptions" | field text)
same "mayday" "$heard" "$(cat "$demo/recordings/radio.txt")"

echo "== roll back"
same "rolled back to" "$(admin -X POST "$url/models/rollback" | field fingerprint)" "$first"
same "what serves" "$(served)" "$first"
same "the job" "$(admin "$url/quantize/$id" | field status)" proven
again=$(curl -s -X POST -H "authorization: Bearer $key" "$url/models/rollback")
same "rolling back once more" "$(field error.code <<<"$again")" no_promotion
heard=$(curl -sf -F file=@"$demo/recordings/radio.mp3" "$url/v1/audio/transcriptions" | field text)
same "mayday" "$heard" "$(cat "$demo/recordings/radio.txt")"
echo "== told to the end"

# make serve   the service on port 8000, with openai/whisper-base unless MODEL= says otherwise
# make test    lint, unit tests, and tests against a real server: half an hour on two cores
# make test-slow   what is long and seldom the first to fail, every benchmark in small among it
VENV ?= .venv
VARIANT ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
RUN = $(VENV)/bin/python
SERVE_ENV = $(if $(PORT),MARLINSCRIBE_PORT=$(PORT)) $(if $(MODEL),MARLINSCRIBE_MODEL="$(MODEL)") $(if $(CALIBRATION),MARLINSCRIBE_CALIBRATION="$(CALIBRATION)")

.PHONY: serve test test-slow lint unit engine test-page bench-page compatibility schemathesis fuzz demo-check bench-start bench-mayday bench-http bench-overhead bench-decode bench-prompts bench-beside bench-large bench-quantize bench-quantize-demo bench-recovery bench-decoding bench-words bench-hours bench-throughput bench-gpu bench-tuning bench-sensitivity alerts dashboard reference detector observe faults image voices env
serve: $(VENV)/.serve-$(VARIANT)
	@exec env $(SERVE_ENV) $(VENV)/bin/marlinscribe serve

test: lint unit engine

test-slow: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m pytest -m slow --durations=10

lint: $(VENV)/.dev-$(VARIANT)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

unit: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m pytest -m "not engine and not slow and not page" -n logical --maxprocesses=4 --cov --cov-report=term-missing --durations=10
	$(RUN) -m pytest tests/page/test_main_path.py -n logical --maxprocesses=4

# The page in a real Chromium (Debian has it as `chromium`); `make unit` runs its main path, in
# processes of its own, for Playwright leaves an event loop in its thread.
test-page: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m pytest tests/page tests/api/test_page.py -n logical --maxprocesses=4 --durations=10

bench-page: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.page

engine: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m pytest -m "engine and not slow" --durations=10

demo-check: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.demo_check

bench-start: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.start

bench-mayday: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.mayday

bench-http: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.http
	$(RUN) -m bench.first_delta

bench-overhead: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.overhead

bench-decode: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.decode

# Kills, stops, fills, cuts and floods one real server: is every request answered? (10 minutes)
faults: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.faults

# Builds the image without an engine (buildah, debootstrap; as root) and asks the service in it:
# make image IMAGE=cpu, or IMAGE=gpu, which is built and no more. IMAGE_ARGS: further arguments for
# `buildah build`, as a mirror of PyPI wants them.
IMAGE ?= cpu
image: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.image $(IMAGE) $(IMAGE_ARGS)

# Speaks the demo's recordings again, with neural voices in an environment of their own: an hour on
# one core. It needs npm, for Kokoro's voices. READERS="FOLDER…", where demo/voices/readers.py looks,
# makes demo/recordings/readers too.
VOICES = build/voices
voices: export KOKORO_VOICES = $(VOICES)/package/voices
voices: export KOKORO_JA_CACHE = $(VOICES)
voices: export OMP_NUM_THREADS = 1
voices: $(VOICES)/.made
	$(VOICES)/venv/bin/python -m demo.voices.speak calibration demo/recordings/voices/calibration $(VOICES)/spoken
	$(VOICES)/venv/bin/python -m demo.voices.speak judge demo/recordings/voices/judge $(VOICES)/spoken
	$(VOICES)/venv/bin/python -m demo.voices.mayday $(VOICES)/spoken
	$(VOICES)/venv/bin/python -m demo.voices.long demo/recordings/long $(VOICES)/spoken
	$(VOICES)/venv/bin/python -m demo.voices.languages demo/recordings/languages $(VOICES)/spoken
	$(VOICES)/venv/bin/python -m demo.voices.words demo/recordings/words $(VOICES)/spoken
	$(if $(READERS),$(VOICES)/venv/bin/python -m demo.voices.readers $(READERS) demo/recordings/readers)
$(VOICES)/.made: demo/voices/requirements.txt
	python3 -m venv $(VOICES)/venv
	$(VOICES)/venv/bin/pip install -q --no-deps -r demo/voices/requirements.txt
	cd $(VOICES) && npm pack --silent kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz
	@touch $@

bench-prompts: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.prompts

bench-quantize: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.quantize --write

bench-quantize-demo: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.quantize_demo --write

bench-decoding: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.decoding

bench-words: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.words

bench-hours: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.hours

bench-throughput: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.throughput

# Recipes on one NVIDIA card, behind our server and vLLM's own; without a card, a table without rows.
bench-gpu: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.gpu

# What an engine takes, predicted from its layers, beside what it does take.
bench-tuning: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.tuning

# Which score tells best what a choice of bits by layer loses (half an hour; it can be ended).
bench-sensitivity: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.sensitivity

bench-recovery: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.recovery

bench-beside: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.beside

bench-large: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.large

# Prometheus' own word on our rules, alerts and metric names; Debian has it as `prometheus`.
alerts: $(VENV)/.dev-$(VARIANT)
	@command -v promtool >/dev/null || { echo "make alerts needs promtool: apt-get install prometheus"; exit 1; }
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/alerts.test.yml
	@exposition=$$($(RUN) -m bench.exposition) && echo "$$exposition" | promtool check metrics

dashboard: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m deploy.grafana.dashboard

# docs/reference.md, from the code.
reference: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m tools.reference

# app/speech/detector.onnx, from Silero's wheel.
detector: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m tools.detector

observe: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m bench.observe

# What real clients see. Their tools live apart, in .contract; none of it runs in `make test`.
CONTRACT = .contract/.tools
$(CONTRACT): requirements/contract.txt tests/contract/package.json
	python3 -m venv .contract/venv
	.contract/venv/bin/pip install -q -r requirements/contract.txt
	cp tests/contract/package.json .contract/
	npm install --prefix .contract --no-package-lock --no-audit --no-fund --silent
	@touch $@

compatibility: $(VENV)/.dev-$(VARIANT) $(CONTRACT)
	$(RUN) -m tests.contract.matrix --write

schemathesis: $(VENV)/.dev-$(VARIANT) $(CONTRACT)
	$(RUN) -m tests.contract.schema

fuzz: $(VENV)/.dev-$(VARIANT)
	$(RUN) -m tests.contract.fuzz

env: $(VENV)/.dev-$(VARIANT)

LOCKS = requirements/install.sh requirements/$(VARIANT).txt requirements/quantizer.txt pyproject.toml
$(VENV)/.serve-$(VARIANT): $(LOCKS)
	@echo "Making the $(VARIANT) environment in $(VENV) (a few minutes, once)"
	@requirements/install.sh $(VARIANT) $(VENV)
	@touch $@
$(VENV)/.dev-$(VARIANT): $(VENV)/.serve-$(VARIANT) requirements/dev.txt
	@requirements/install.sh $(VARIANT) $(VENV) dev
	@touch $@

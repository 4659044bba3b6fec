# Two commands for a newcomer: `make demo` and `make test`. Each sets up its own environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Modules are compiled as they are imported. What is compiled has to be kept, or every process that
# a test starts compiles torch again.
unexport PYTHONDONTWRITEBYTECODE

# For `make zoo-baseline`: why its numbers hold from now on.
REASON ?=
# What runs side by side prints one after another, where make can (4.0 and later).
IN_ORDER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
ZOO_BASELINE := models/zoo/baseline.json
TARGETS := cpu:1 cpu:2 mobile web
BENCH_ZOO = $(BIN)/nstc bench --against zoo:starry-night/teacher
ZOO := $(patsubst models/zoo/%,zoo:%,$(patsubst %/student,%,$(wildcard models/zoo/*/student models/zoo/*/fast)))

.PHONY: demo test docs docs-serve house lint typetree types imports unit test-base dist release-check base-sizes gate gate-quality gate-instructions explore format clean web-setup \
	zoo-baseline zoo-report readme-pictures test-slow test-docs test-notebook test-ssh test-web test-cuda test-executorch \
	test-ray bench-ray test-everywhere test-integrations \
	test-lowest test-lowest-compress test-gate-proof test-fuzz test-kills test-batch test-deploy \
	test-memory emulators test-emulated \
	bench-gate bench-startup bench-repeatability bench-device bench-calibration-memory \
	bench-integers bench-quantization-modes calibrators live-rates mutants

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@# To compile all modules, and not only those that are imported, takes a minute.
	$(BIN)/python -m pip install --quiet --no-compile --editable ".[dev]"
	touch $@

demo: $(READY)  ## take an included student to another style; ends with a table and a picture
	$(BIN)/nstc compress zoo:starry-night/teacher -o demo --preset restyle-quick --init zoo:the-scream

test: $(READY)  ## everything CI runs, side by side: much of it leaves a core idle
	$(MAKE) --no-print-directory -j3 $(IN_ORDER) types gate lint imports docs test-base unit

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m lab.word_check

typetree: $(READY)
	$(BIN)/python -m lab.typetree

types: typetree
	$(BIN)/mypy

imports: typetree
	PYTHONPATH=.typetree $(BIN)/lint-imports

unit: $(READY)  ## what takes longest; with a + make lets its progress through as it comes
	+OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal --durations=30

test-base: $(READY)  ## the device's install: a wheel in an environment without torch
	$(BIN)/python -m pytest -m base_install

LOWEST := runs/lowest

test-lowest: $(READY)  ## the lowest versions that pyproject.toml allows, without torch; PYTHON=3.11's
	$(BIN)/python -m pytest -m lowest tests/end_to_end/test_lowest.py

test-lowest-compress: $(READY)  ## those of nstc[compress]: some 8 GB and ten minutes
	$(BIN)/python -m lab.lowest_install $(LOWEST) --extra compress --extra heif --extra report \
		--extra video --with pytest --with jsonschema --with hypothesis
	OMP_NUM_THREADS=1 $(LOWEST)/venv/bin/python -m pytest -W default tests/core tests/runtime \
		tests/models tests/cli

dist: $(READY)  ## the sdists and wheels of nstc and nstc-models, as a release has them
	rm -rf dist
	$(BIN)/python -m lab.distributions dist

release-check: $(READY)  ## whether version, changelog and TAG=v1.0.0 agree; TAG may be missing
	$(BIN)/python -m lab.release_check $(if $(TAG),--tag "$(TAG)")

base-sizes: $(READY)  ## its packages with their versions and megabytes; FORMAT=--json for JSON
	$(BIN)/python -m lab.base_install $(FORMAT)

docs: typetree  ## the documentation site in build/site, warnings as errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs-serve: typetree  ## the same on http://127.0.0.1:8000, anew as pages change
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

house: $(READY)  ## how large the source is, and where it is past its limits
	$(BIN)/python -m lab.house

gate: $(READY)  ## the zoo's facts and quality beside its baseline
	$(BIN)/nstc check --baseline $(ZOO_BASELINE) --facts-and-quality-only

gate-quality: $(READY)  ## and its quality measured, also where the pictures are the baseline's; minutes
	$(BIN)/nstc check --baseline $(ZOO_BASELINE) --facts-and-quality-only --measure-quality

gate-instructions: $(READY)  ## its instructions too, on a machine that may be busy; needs Valgrind
	$(BIN)/nstc check --baseline $(ZOO_BASELINE)

bench-gate: $(READY)  ## and its time, on a machine that does nothing else
	$(BIN)/nstc check --baseline $(ZOO_BASELINE) --time

zoo-baseline: $(READY)  ## accept the zoo as it is: make zoo-baseline REASON="what changed"; needs Valgrind
	$(BIN)/nstc baseline update $(ZOO_BASELINE) $(ZOO) --reason "$(REASON)"

readme-pictures: $(READY)  ## docs/images: the zoo's sheet, its frontier, a comparison
	$(BIN)/python -m lab.readme_pictures

zoo-report: $(READY) web-setup  ## the zoo on every target of this machine, in some 20 minutes
	$(BIN)/python -m pip install --quiet --editable ".[executorch]"
	$(BENCH_ZOO) $(ZOO) $(addprefix --target ,$(TARGETS)) --json docs/reports/zoo-report.json
	$(BENCH_ZOO) $(ZOO) --target executorch --artifact pte --no-quality \
		--json docs/reports/zoo-report-executorch.json
	@# The Great Wave's int8.pte is too far from its network to be kept: 21.4 dB.
	$(BENCH_ZOO) $(filter-out zoo:great-wave,$(ZOO)) --target executorch --artifact int8.pte --no-quality \
		--json docs/reports/zoo-report-executorch-int8.json
	$(BENCH_ZOO) $(ZOO) --target web:node --no-quality --rounds 5 --json docs/reports/zoo-report-node.json
	$(BIN)/nstc report docs/reports/zoo-report*.json -o docs/reports/zoo-report.html

test-gate-proof: $(READY)  ## 25 minutes on a quiet machine; resumes unless AGAIN=--again; NSTC_GATE_PROOF=short tries it, =instructions on any machine
	$(BIN)/python -m lab.gate_proof $(AGAIN)

bench-startup: $(READY)  ## how long `nstc --help` takes
	$(BIN)/python -m lab.startup

bench-device: $(READY)  ## memory, tiles, start-up and time from file to file; FORMAT=--json for JSON
	$(BIN)/python -c "from nstc import open_bundle; from nstc.compress.export.export_model import made_artifact; \
		made_artifact(open_bundle('zoo:starry-night/teacher'), 'float'); \
		made_artifact(open_bundle('zoo:starry-night'), 'int8.tiles.onnx')"
	$(BIN)/python -m lab.device_bench $(FORMAT)

bench-repeatability: $(READY)  ## whether two runs of the benchmark agree, in 50 pairs
	$(BIN)/python -m lab.repeatability --pairs 50

bench-calibration-memory: $(READY)  ## peak memory of calibrating on 500 photographs: under 1 GB
	$(BIN)/python -m lab.calibration_memory 500

bench-integers: $(READY)  ## what int8 costs and gives beside float, on a quiet machine; PHOTOS=folder
	$(BIN)/python -m lab.integer_files $(if $(PHOTOS),--photos $(PHOTOS))

bench-quantization-modes: $(READY)  ## every mode's bytes, speed and quality, on a quiet machine
	$(BIN)/python -m lab.quantization_modes

live-rates: $(READY) web-setup  ## frames a second of the live page, on a quiet machine; needs chromium
	$(BIN)/python -m lab.live_rates

calibrators: $(READY)  ## the table of docs/research/quantization.md
	$(BIN)/python -m lab.calibrator_table

test-cuda: $(READY)  ## what needs an NVIDIA GPU; without one each test says that it was not run
	$(BIN)/python -m pytest -m cuda

test-executorch: $(READY)  ## installs the extra, then makes and runs .pte files
	$(BIN)/python -m pip install --quiet --editable ".[executorch]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m executorch

test-ray: $(READY)  ## installs the extra and moto; a cluster of two nodes and a server of S3 on loopback
	$(BIN)/python -m pip install --quiet --editable ".[ray]" "moto[server]>=5"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ray --durations=10

EVERYWHERE := .venv-everywhere

test-everywhere:  ## OpenCV, OpenVINO, ncnn, LiteRT and Core ML packages, in an environment of its own
	$(MAKE) --no-print-directory VENV=$(EVERYWHERE) $(EVERYWHERE)/.ready
	$(EVERYWHERE)/bin/python -m pip install --quiet --editable ".[everywhere]"
	@# Afterwards: litert-converter pins an old typing-extensions, which tools of dev complain of.
	$(EVERYWHERE)/bin/python -m pip install --quiet --editable ".[litert]"
	@# The anyio that goes with it has a plugin that pytest 9.2 warns of, which no test here needs.
	OMP_NUM_THREADS=1 $(EVERYWHERE)/bin/python -m pytest -p no:anyio -m everywhere --durations=10

INTEGRATIONS := .venv-integrations

test-integrations:  ## the hook in pre-commit, the demo in Gradio, the units in systemd-analyze; in an environment of its own
	$(MAKE) --no-print-directory VENV=$(INTEGRATIONS) $(INTEGRATIONS)/.ready
	$(INTEGRATIONS)/bin/python -m pip install --quiet "gradio>=5" "pre-commit>=4"
	OMP_NUM_THREADS=1 $(INTEGRATIONS)/bin/python -m pytest -m integrations --durations=10

bench-ray: $(READY)  ## pictures a second of one worker and of two, on a quiet machine; PHOTOS=folder
	$(BIN)/python -m pip install --quiet --editable ".[ray]"
	$(BIN)/python -m lab.ray_rates $(if $(PHOTOS),--photos $(PHOTOS))

PLAN ?= architectures
explore: $(READY)  ## compare students: make explore PHOTOS=folder [PLAN=ablation] [OUT=folder]
	$(BIN)/python -m lab.exploration lab/plans/$(PLAN).toml --photos $(PHOTOS) -o $(or $(OUT),runs/explore-$(PLAN))

test-memory: $(READY)  ## a 12000x9000 picture within 900 and 400 MB; minutes
	$(BIN)/python -m pytest -m memory -s

test-slow: $(READY)  ## minutes of training: judges quality, not only function
	$(BIN)/python -m pytest -m slow

test-docs: $(READY)  ## the commands of README and documentation, as a reader types them
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m docs tests/docs

test-notebook: $(READY)  ## the notebook from top to bottom, in small
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/notebooks

test-fuzz: $(READY)  ## thousands of mutations of every file that nstc reads; half an hour or more
	$(BIN)/python -m pip install --quiet --editable ".[heif]"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fuzz

test-kills: $(READY)  ## two hundred processes killed at any moment: nothing half-written, lost or left
	$(BIN)/python -m pytest -m kills tests/end_to_end

test-batch: $(READY)  ## a thousand photographs with fifty broken ones among them, in flat memory
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m batch

emulators: $(READY)  ## a small Debian of arm64 in runs/emulators; needs apt and qemu-user-static
	$(BIN)/python -m lab.emulators runs/emulators

test-emulated: emulators  ## the shipped int8 files on x86 without VNNI and on Arm, under QEMU
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m emulated -s

test-ssh: $(READY)  ## the ssh target through OpenSSH itself; needs openssh-server
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ssh

web-setup: $(READY)  ## onnxruntime-web from npm, to run models in browsers
	$(BIN)/nstc web-setup

test-web: $(READY)  ## Node and Chromium run the rounds; needs node, npm and chromium
	$(BIN)/python -m pytest -m web

test-deploy: $(READY)  ## the programs of docs/deploy; needs g++ with ONNX Runtime's headers, Chromium
	$(BIN)/python -m pytest -m deploy tests/deploy

COUNT ?= 100
SEED ?= 0
mutants: $(READY)  ## what small changes of the source the tests notice; resumes; [COUNT=100] [SEED=0] [FORMAT=--json]
	$(BIN)/python -m lab.mutants --count $(COUNT) --seed $(SEED) $(FORMAT)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .typetree build dist demo

# Set up, run and check the project on a fresh machine. Every target can be run first.
#
#   make demo [VIDEO=clip.mp4]   generate the sound of the bundled clips, or of your own clip
#   make studio                  open the studio in the browser, to try it with the bundled clips
#   make test [WORKERS=2] [PRECISION=bf16|fp32]
#                                run all tests in WORKERS processes of one thread each; networks
#                                compute in the given precision, or in the fastest one
#   make test-installs           run the tests that install foleyflow in fresh environments (1 GB)
#   make check                   lint, format, types
#   make bench                   measure speed and memory
#   make clean                   remove the files created by the targets above

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile -c constraints.txt
WORKERS ?= 2
PRECISION ?= $(or $(FOLEYFLOW_PRECISION),auto)
EXAMPLES := $(foreach name,drums chopping,foleyflow/assets/examples/$(name).mp4)
SHOWN = $(if $(VIDEO),"$(VIDEO)",$(EXAMPLES))
EDITED = $(if $(VIDEO),"$(VIDEO)",$(firstword $(EXAMPLES)))

PAGE := foleyflow/studio/page/index.html
PAGE_SOURCES := $(wildcard studio/*.json studio/*.mjs studio/static/* studio/src/*.ts studio/src/*/*)

.PHONY: setup demo studio test test-installs check bench clean

setup: $(STAMP) $(PAGE)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# torch is installed first and alone, so that an installed CPU build is kept. Bytecode is written
# when a module is first imported: most files of the large packages never are.
$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) torch
	$(PIP) -e '.[dev]'
	@sh scripts/system_packages.sh osmesa
	@touch $@

# The page of the studio. Without npm there is one line, and the rest works.
$(PAGE): $(PAGE_SOURCES)
	@sh scripts/system_packages.sh npm
	@if command -v npm >/dev/null; then sh scripts/build_page.sh || echo 'The page was not built.'; fi

demo: setup
	@mkdir -p demo
	$(BIN)/foleyflow generate $(SHOWN) -o demo/ --report --overwrite
	@echo
	@echo 'Videos with sound, and a report picture of each, are in demo/'
	@echo
	@echo 'To change what sounds, write the cue sheet of a video:'
	@echo '  $(BIN)/foleyflow spot $(EDITED) -o demo/cues.json --overwrite'
	@echo 'Edit demo/cues.json (times, materials, enabled; add or delete lines), and generate again:'
	@echo '  $(BIN)/foleyflow generate $(EDITED) --cues demo/cues.json -o demo/ --report --overwrite'

studio: setup
	$(BIN)/foleyflow serve --folder demo/studio --open

test: setup
	@sh scripts/system_packages.sh chromium chromium-driver zsh fish
	@FOLEYFLOW_PRECISION=$(PRECISION) $(BIN)/python tests/support/machine_line.py
	FOLEYFLOW_PRECISION=$(PRECISION) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

test-installs: setup
	INSTALLS=1 $(BIN)/python -m pytest -q -x tests/packaging

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if command -v npm >/dev/null; then cd studio && npm run --silent check; fi

bench: setup
	$(BIN)/foleyflow bench

clean:
	rm -rf demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	rm -rf studio/node_modules foleyflow/studio/page
	find foleyflow tests -name __pycache__ -type d -prune -exec rm -rf {} +

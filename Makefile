# The course in one word each. `make VENV=path …` shares one environment between checkouts.
VENV ?= .venv
PYTHON ?= python3
CHAPTER ?=

BIN := $(VENV)/bin
COURSEKIT := $(BIN)/coursekit
STAMP := $(VENV)/.coursekit-installed

.PHONY: help setup book test quick lab release claims bench clean

help:
	@echo "make book      execute what is not current, build the book, print the file to open"
	@echo "make test      every check: style, types, tests, notebooks, book, browser"
	@echo "make quick     the quick tests alone"
	@echo "make lab       open JupyterLab in exercises/"
	@echo "make release   derive exercises/ from solutions/"
	@echo "make claims    measure the claims that are not current (CHAPTER=part/name selects one)"
	@echo "make bench     run the measured comparisons"
	@echo "make clean     remove build/"

# The stamp holds what was installed from where: a changed list or another checkout installs again.
setup:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "The course needs Python 3.11, 3.12 or 3.13; name one with PYTHON=python3.12."; exit 2; }
	@wanted="$(CURDIR) $$(cat pyproject.toml constraints.txt | cksum)"; \
	if [ "$$wanted" != "$$(cat $(STAMP) 2>/dev/null)" ]; then \
	  { [ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV); } && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[book,data,dev]" && \
	  echo "$$wanted" > $(STAMP); \
	fi

book: setup
	@$(COURSEKIT) book

test: setup
	@$(COURSEKIT) test

quick: setup
	@$(COURSEKIT) test --quick

lab: setup
	@$(COURSEKIT) lab

release: setup
	@$(COURSEKIT) release $(CHAPTER)

claims: setup
	@$(COURSEKIT) claims $(CHAPTER)

bench: setup
	@for script in tests/benchmarks/bench_*.py; do echo "$$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf build

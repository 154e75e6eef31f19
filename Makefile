# The environment is made once and again whenever setup.cfg changes.
PYTHON ?= python3
ENVIRONMENT := .venv
BIN := $(ENVIRONMENT)/bin
INSTALLED := .mypy_cache/installed

.PHONY: run test gate docs lint format readme claims clean

run: $(ENVIRONMENT)/made
	$(BIN)/python -m experiments.run --algo mem_dfa --model vgg16

# In two rounds: traced graphs pile up in a process. Tests of the first wait for processes of their
# own, which three on two cores make up for.
test: $(ENVIRONMENT)/made
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal tests/experiments tests/profiling tests/test_*.py
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal tests/mem_dfa

gate: $(ENVIRONMENT)/made
	$(BIN)/python -m experiments.gate

# Types are checked under the one installed name, which the folders have in a folder of links.
lint: $(ENVIRONMENT)/made
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .mypy_cache
	mkdir -p $(INSTALLED)/mem_dfa
	ln -s $(CURDIR)/mem_dfa/* $(CURDIR)/profiling $(CURDIR)/experiments $(INSTALLED)/mem_dfa
	cd $(INSTALLED) && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml --package mem_dfa

format: $(ENVIRONMENT)/made
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Into build/site. What Material says of MkDocs's next version is no warning about these pages.
docs: $(ENVIRONMENT)/made
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

# What there is, as the registry has it, and what was measured.
readme: $(ENVIRONMENT)/made
	$(BIN)/python -m mem_dfa.experiments.report.readme README.md

claims: $(ENVIRONMENT)/made
	$(BIN)/python -m experiments.claims

$(ENVIRONMENT)/made: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "$(PYTHON) is Python %d.%d: 3.11 to 3.13 is needed; name one with make PYTHON=..." % v)'
	$(PYTHON) -m venv $(ENVIRONMENT)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[development]'
	touch $@

clean:
	rm -rf $(ENVIRONMENT) build

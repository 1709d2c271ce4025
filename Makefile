# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
BUF_VERSION := 1.75.0
# As in bench/psi.py.
PSI_VERSION := 2.0.6
PSI_VENV := build/psi-venv
# As in bench/merkle.py.
PYMERKLE_VERSION := 7.0.0
PYMERKLE_VENV := build/pymerkle-venv

.PHONY: help demo test test-slow test-all bench check proto catalogue buf released clean

help:
	@echo "make demo      start a gateway and five lenders, tell the whole story on real loans"
	@echo "make test      the tests, on SQLite and PostgreSQL"
	@echo "make test-slow the slow tests, which start and kill gateways again and again"
	@echo "make test-all  both"
	@echo "make check     ruff, mypy --strict, import rules, buf lint"
	@echo "make bench     figures against their references (ONLY=tokens for one group, ROWS=10000000 for a larger pool)"
	@echo "make proto     regenerate the committed code from proto/"
	@echo "make catalogue regenerate docs/catalogue.md"

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Concordat needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	touch $@

# rbcl carries libsodium for machines that have none; the system's own is preferred when there is one.
$(VENV)/.run: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) -e '.[server,sodium,witness,timestamps,demo,demo-data]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[server,sodium,witness,timestamps,demo,demo-data,dev]'
	touch $@

demo: $(VENV)/.run
	$(BIN)/python -m concordat_demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 -m slow

test-all: test test-slow

# Without the comparison (no network, no wheel for this machine) the other figures still come.
bench: $(VENV)/.dev
ifneq ($(filter tokens,$(or $(ONLY),tokens)),)
	@$(MAKE) --no-print-directory $(PSI_VENV)/.openmined-psi-$(PSI_VERSION) || echo "no openmined-psi: its figures are left out"
endif
ifneq ($(filter ledger,$(or $(ONLY),ledger)),)
	@$(MAKE) --no-print-directory $(PYMERKLE_VENV)/.pymerkle-$(PYMERKLE_VERSION) || echo "no pymerkle: its figure is left out"
endif
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(ROWS),--rows $(ROWS))

# GPL-3.0: never a dependency, and in an environment of its own.
$(PYMERKLE_VENV)/.pymerkle-$(PYMERKLE_VERSION): $(VENV)/.created
	rm -rf $(PYMERKLE_VENV)
	$(BIN)/python -m venv $(PYMERKLE_VENV)
	$(PYMERKLE_VENV)/bin/python -m pip install --quiet --disable-pip-version-check pymerkle==$(PYMERKLE_VERSION) || (rm -rf $(PYMERKLE_VENV); false)
	touch $@

# openmined-psi pins protobuf==6.30.2, older than Concordat's: an environment of its own.
$(PSI_VENV)/.openmined-psi-$(PSI_VERSION): $(VENV)/.created
	rm -rf $(PSI_VENV)
	$(BIN)/python -m venv $(PSI_VENV)
	$(PSI_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: openmined-psi==$(PSI_VERSION) || (rm -rf $(PSI_VENV); false)
	touch $@

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) buf

build/buf/node_modules/.bin/buf:
	npm install --silent --no-audit --no-fund --prefix build/buf @bufbuild/buf@$(BUF_VERSION)

buf: build/buf/node_modules/.bin/buf
	build/buf/node_modules/.bin/buf lint
	build/buf/node_modules/.bin/buf breaking --against proto/released.binpb

# With a release: what `buf breaking` compares with from then on.
released: build/buf/node_modules/.bin/buf
	build/buf/node_modules/.bin/buf build --exclude-source-info -o proto/released.binpb

proto: $(VENV)/.dev
	$(BIN)/python tools/generate.py

catalogue: $(VENV)/.dev
	$(BIN)/python tools/catalogue_page.py

clean:
	rm -rf build $(VENV)

# fim-bootstrap: `make apply` does the main job, `make test` passes the tests; both set themselves up.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
ARGS   ?=
# what sudo sets up belongs to whom the checkout belongs, who goes on without sudo
OWN    := [ "$$(id -u)" != 0 ] || chown -hR --reference=Makefile $(VENV)

.PHONY: help apply run test check lint type test-live binary release test-binary \
        test-managers test-faults soak test-ansible test-images test-fuzz fuzz test-salt test-scap mutants test-all table golden bench clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

apply: $(VENV)/run  ## make this host ready (as root)
	@$(PY) bootstrap.py apply $(ARGS)

run: $(VENV)/run  ## any other words: make run ARGS="check --format json"
	@$(PY) bootstrap.py $(ARGS)

test: $(VENV)/dev  ## the fast tests
	@PYTHON=$(PYTHON) sh tests/needs.sh
	$(PY) -m pytest -q -n auto --dist worksteal $(ARGS)

check: lint type test  ## ruff, mypy --strict, shellcheck, tests

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check -q .

type: $(VENV)/dev
	$(VENV)/bin/mypy

test-live: $(VENV)/dev  ## boot real guests and close the loop in them (as root, an hour or two)
	@sh tests/needs.sh live
	$(PY) -m pytest -q -s --live tests/live $(ARGS)

binary: $(VENV)/dev  ## dist/fim-bootstrap-linux-ARCH: one file that needs no Python, glibc 2.17 (as root or not)
	@sh tests/needs.sh binary
	@PYTHON=$(CURDIR)/$(PY) packaging/binary/build.sh

# without a key nothing is built before that is refused
release: $(VENV)/dev $(if $(KEY)$(UNSIGNED),binary)  ## dist/release, with a .deb and an .rpm: make release URL=https://example.org/v1 KEY=private.pem
	@sh tests/needs.sh release
	@PYTHONPATH=. $(PY) packaging/release.py --url "$(URL)" --key "$(KEY)" $(if $(UNSIGNED),--unsigned)

test-binary: binary  ## the binary in hostile environments (as root), and built twice
	@sh tests/needs.sh live
	$(PY) -m pytest -q --binary tests/binary $(ARGS)

test-managers: $(VENV)/dev  ## real apt, dnf, dnf5 and zypper in roots that stand in for other releases (as root)
	@sh tests/needs.sh live
	$(PY) -m pytest -q -n auto --managers tests/managers $(ARGS)

test-faults: $(VENV)/dev  ## kill the tool, and fail what it calls, at every point of a run (as root, 5 minutes)
	@sh tests/needs.sh live
	@sh tests/needs.sh faults
	$(PY) -m pytest -q -s --faults tests/faults $(ARGS)

soak: $(VENV)/dev  ## 1,000 rounds in a root, 50 in a guest (as root, ten minutes)
	@sh tests/needs.sh live
	FIM_SOAK=1 $(PY) -m pytest -q -s --faults tests/faults/test_soak.py $(ARGS)

test-ansible: binary  ## the collection under three real ansible-cores, on hosts without Python (as root)
	@sh tests/needs.sh live
	@sh tests/needs.sh ansible
	$(PY) -m pytest -q --ansible tests/ansible $(ARGS)

test-images: binary  ## the image builders' examples in real roots (as root)
	@sh tests/needs.sh live
	$(PY) -m pytest -q -n auto --images tests/images $(ARGS)

test-fuzz: $(VENV)/dev  ## a minute of fuzzing, the same each time, beside the real auditctl and auditd (as root)
	@sh tests/needs.sh fuzz
	$(PY) -m pytest -q -s --fuzz tests/fuzz $(ARGS)

fuzz: $(VENV)/dev  ## fuzz with new inputs: make fuzz ARGS="SECONDS SEED CORPUS" (as root)
	@sh tests/needs.sh fuzz
	@$(PY) -m tests.fuzz.campaign $(ARGS)

test-salt: binary  ## real Salt: masterless, a fleet on loopback, salt-ssh (as root)
	@sh tests/needs.sh live
	@sh tests/needs.sh salt
	$(PY) -m pytest -q --salt tests/salt $(ARGS)

test-fleet: $(VENV)/dev  ## the fleet's page in a real Chromium, wide and narrow (as root)
	@sh tests/needs.sh fleet
	$(PY) -m pytest -q --fleet tests/fleet $(ARGS)

test-scap: $(VENV)/dev  ## the exception's record under the real OpenSCAP and ansible-core (as root)
	@sh tests/needs.sh scap
	$(PY) -m pytest -q --scap tests/scap $(ARGS)

mutants: $(VENV)/dev  ## small mistakes, one at a time: how many do the fast tests catch? make mutants ARGS="SEED SIZE" (an hour)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-mutants.txt
	$(PY) -m tests.mutants $(ARGS)

test-all: check test-fuzz test-binary test-managers test-faults test-ansible test-images test-fleet test-scap test-salt test-live  ## all of them (as root, hours)

table: $(VENV)/run  ## write what is made from tables: docs/releases.md, docs/options.md, docs/requirements.md, the man page
	@PYTHONPATH=. $(PY) packaging/support_table.py
	@PYTHONPATH=. $(PY) packaging/manual_pages.py

golden: $(VENV)/dev  ## write tests/golden, what the program prints and says: read it before it is committed (as root)
	@$(PY) -m tests.screens
	@$(PY) -m tests.fleet_golden
	@$(PY) -m tests.lines_golden
	@mkdir -p build && rm -f build/heard
	@FIM_HEARD=$(CURDIR)/build/heard $(PY) -m pytest -q -n auto --dist worksteal
	@LC_ALL=C sort -u build/heard > tests/golden/said.txt

bench: binary  ## the start, other tools for the same work, and a cold run in a guest, side by side (as root)
	@sh tests/needs.sh live
	@$(PY) -m bench.start
	@$(PY) -m bench.peers
	@$(PY) -m bench.cold

$(VENV)/run: requirements.txt
	@PYTHON=$(PYTHON) sh tests/needs.sh venv
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@
	@$(OWN)

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
	@$(OWN)

clean:  ## remove what was built here
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

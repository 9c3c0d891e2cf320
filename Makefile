# Every target works from a fresh clone: what it needs is made first, once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
LOCKS := tests/requirements
VENV := .venv/.stamp
COLLECTIONS := .ansible/collections/.stamp

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "  make %-42s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(COLLECTIONS) ## Make .venv with the pinned tools and link the collections
	@:

setup-newest: $(VENV) ## Make .venv-newest with the newest ansible-core, where there is a Python for it
	@[ .venv-newest/.stamp -nt $(LOCKS)/newest.txt ] || tests/setup-environment newest

$(VENV): $(LOCKS)/oldest.txt $(LOCKS)/uv.txt tests/setup-environment
	@tests/setup-environment oldest

$(COLLECTIONS): $(LOCKS)/collections.txt tests/install-collections | $(VENV)
	@tests/install-collections

lock: $(VENV) ## Look for new versions of all tools and pin them
	@cd $(LOCKS) && for set in "oldest ansible-core==2.19.* 3.11 tools" "newest ansible-core==2.21.* 3.12 newest"; do \
	    read -r name core python source <<<"$$set"; \
	    cat $$source.in uv.txt <(echo "$$core") | UV_SYSTEM_CERTS=1 ../../.venv/bin/uv pip compile -q --upgrade --universal \
	        --no-annotate --python-version $$python --custom-compile-command "make lock" -o $$name.txt -; \
	done

test: setup setup-newest ## Run all tests: lint, unit, contract, galaxy, molecule on Debian 12 and 13
	@tests/run

lint unit contract galaxy molecule: setup setup-newest ## Run one level of the tests
	@tests/run $@

hosts: setup ## Boot the test hosts, to run molecule/*/tests with pytest again and again
	@.venv/bin/python tests/testbed install
	@.venv/bin/python tests/testbed up --debian 12 bookworm-1=11 bookworm-2=12
	@.venv/bin/python tests/testbed up --debian 13 trixie-1=21 trixie-2=22 git-1=31

hosts-down: ## Destroy the test hosts
	@python3 tests/testbed down --all

bench: $(VENV) setup-newest ## Compare deploys and requests with what else there is (ROUNDS=3, ONLY=deploys|requests)
	@.venv/bin/python tests/testbed install
	@.venv/bin/python tests/bench --rounds $(or $(ROUNDS),3) $(if $(ONLY),--only $(ONLY))

demo: $(VENV) ## Boot a machine and deploy the example app to it
	@.venv/bin/python tests/testbed/demo.py up

demo-down: ## Destroy the demo's machine
	@python3 tests/testbed/demo.py down

docs: $(VENV) ## Write the tables of variables in the roles' READMEs from their specifications
	@.venv/bin/python tests/contract/readme_tables.py

clean: ## Remove what make has made here; images and packages are kept in the cache folder
	@rm -rf .venv .venv-newest .ansible .cache build

.PHONY: help setup setup-newest lock test lint unit contract galaxy molecule hosts hosts-down bench demo demo-down docs clean

# Every target works from a fresh clone: what it needs is made first, once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
LOCKS := tests/requirements
VENV := .venv/.stamp

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV) ## Make .venv with the pinned tools and link the collection
	@:

setup-newest: $(VENV) ## Make .venv-newest with the newest ansible-core, where there is a Python for it
	@[ .venv-newest/.stamp -nt $(LOCKS)/newest.txt ] || tests/setup-environment newest

$(VENV): $(LOCKS)/oldest.txt $(LOCKS)/uv.txt tests/setup-environment
	@tests/setup-environment oldest

lock: $(VENV) ## Look for new versions of all tools and pin them
	@cd $(LOCKS) && for set in "oldest ansible-core==2.19.* 3.11 tools" "newest ansible-core==2.21.* 3.12 newest"; do \
	    read -r name core python source <<<"$$set"; \
	    cat $$source.in uv.txt <(echo "$$core") | UV_SYSTEM_CERTS=1 ../../.venv/bin/uv pip compile -q --upgrade --universal \
	        --no-annotate --python-version $$python --custom-compile-command "make lock" -o $$name.txt -; \
	done

.PHONY: help setup setup-newest lock

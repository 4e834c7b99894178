# The one door. `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
UV_VERSION := 0.13.9
UV := .tools/uv/bin/uv
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/proto/gen

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

$(UV):
	@python3 -m venv .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: $(UV) locks/dev.txt
	@test -x .venv/bin/python || $(UV) venv --quiet .venv
	@$(UV) pip sync --quiet --require-hashes locks/dev.txt
	@touch $@

.PHONY: install
install: .venv/.synced ## Make the environment (uv into .tools, packages into .venv)

.PHONY: proto
proto: install ## Generate proto/gen from proto/
	@python proto/generate.py proto/gen

.PHONY: up down status logs reset doctor
up: install ## Start the whole platform on this machine
	@python -m deploy.local up
down: install ## Stop it; what is stored stays
	@python -m deploy.local down
status: install ## Show how each part of it is
	@python -m deploy.local status
logs: install ## Show the last lines of each log
	@python -m deploy.local logs
reset: install ## Stop it and delete what is stored
	@python -m deploy.local reset
doctor: install ## Say what this machine lacks
	@python -m deploy.local doctor

.PHONY: demo
demo: up ## Play the main job through on the running platform
	@python -m deploy.demo

.PHONY: test
test: install ## Run the whole suite against real servers
	@python -m pytest -n 2

.PHONY: bench-gateway
bench-gateway: install ## Measure the gateway against a bare FastAPI route
	@python -m bench.gateway

.PHONY: lint
lint: install ## Check format, rules, types, architecture and contract
	@ruff format --check --quiet .
	@ruff check --quiet .
	@mypy chassis gateway services deploy bench tests conftest.py proto/*.py
	@lint-imports --no-logo
	@python -m proto.lint
	@folder=$$(mktemp -d) && python proto/generate.py "$$folder/gen" && diff -r -x __pycache__ "$$folder/gen" proto/gen \
		&& rm -r "$$folder" || (echo "proto/gen is not what proto/ says: run make proto"; exit 1)

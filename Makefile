# The one door. `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
UV_VERSION := 0.13.9
UV := .tools/uv/bin/uv
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/proto/gen
PROTOS = $(shell cd proto && find flownurture -name '*.proto' | sort)

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

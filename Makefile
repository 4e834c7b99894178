# The one door. `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
UV_VERSION := 0.13.9
UV := .tools/uv/bin/uv
# All that there is stands in the first of them; the others take its versions.
LOCKS := dev aws-kms contacts gateway identity integrations operator sending webhooks vault-transit local
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR):$(CURDIR)/proto/gen
# What is compiled is kept, whatever the shell says: else each process that starts compiles all that it imports, and the tests start hundreds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(UV):
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "This takes Python 3.11 or newer as python3." >&2; exit 1; }
	@python3 -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "python3 cannot make environments here: install its venv module (python3-venv)." >&2; exit 1; }
	@python3 -m venv --clear .tools/uv
	@.tools/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: $(UV) locks/dev.txt
	@test -x .venv/bin/python || $(UV) venv --quiet --clear --python python3 .venv
	@$(UV) pip sync --quiet --python .venv/bin/python --require-hashes locks/dev.txt
	@touch $@

.PHONY: install
install: .venv/.synced ## Make the environment (uv into .tools, packages into .venv)

.PHONY: lock
lock: $(UV) ## Pin what pyproject.toml asks for into locks/; versions stay unless they must move
	@for extra in $(LOCKS); do \
		$(UV) pip compile --quiet pyproject.toml --extra $$extra --universal --python-version 3.11 \
			$$([ $$extra = dev ] || echo --constraints locks/dev.txt) \
			--generate-hashes --no-header --no-emit-index-url --output-file locks/$$extra.txt || exit 1; \
	done

.PHONY: proto
proto: install ## Generate proto/gen from proto/
	@python proto/generate.py proto/gen

.PHONY: access
access: install ## Generate docs/access.md, who may do what, from proto/
	@python -m proto.access_table docs/access.md

.PHONY: events
events: install ## Generate docs/events.md, what each event holds, from proto/
	@python -m proto.event_table docs/events.md

.PHONY: docs
docs: install ## Build the site of the documentation into var/docs; a warning fails
	@rm -rf var/docs && python -m docs.site var/docs

# Written by typer from the commands.
WRITE_CLI := python -m typer operations.__main__ utils docs --name flownurture --title "The command line" --output
.PHONY: cli
cli: install ## Write docs/cli.md, what the operator's commands take, from operations/
	@$(WRITE_CLI) docs/cli.md >/dev/null

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

# Debian's package $(1), as root.
debian = { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && { apt-get install --quiet --quiet --yes \
			--no-install-recommends $(1) >/dev/null 2>&1 || { apt-get update --quiet --quiet \
			&& apt-get install --quiet --quiet --yes --no-install-recommends $(1); } >/dev/null 2>&1; }; }

.PHONY: chromium opendkim npm
chromium: ## Install Chromium for the tests of pages, where that can be done
	@command -v chromium chromium-browser google-chrome >/dev/null || $(call debian,chromium) \
		|| echo "Without Chromium the tests of hosted pages are left out: install Debian's package chromium."
opendkim: ## Install OpenDKIM for the test of signatures, where that can be done
	@PATH="$$PATH:/usr/sbin" command -v opendkim >/dev/null || $(call debian,opendkim) \
		|| echo "Without OpenDKIM one of two verifiers of signatures is left out: install Debian's package opendkim."
npm: tests/npm/node_modules/.package-lock.json ## Install npm's standardwebhooks for the test of webhooks, where Node is
tests/npm/node_modules/.package-lock.json: tests/npm/package-lock.json
	@npm ci --prefix tests/npm --silent --no-audit --no-fund --ignore-scripts 2>/dev/null \
		|| echo "Without npm and what it installs one of the verifiers of webhooks is left out: install Node."

.PHONY: observability promtool
observability: install ## Generate rules and dashboards for Prometheus and Grafana, and check that all they ask for exists
	@python -m deploy.observability generate
	@python -m deploy.observability check
promtool: .tools/promtool ## Fetch promtool for the test of alerts, where that can be done
.tools/promtool:
	@command -v promtool >/dev/null || { folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT && cd "$$folder" \
		&& { apt-get download --quiet --quiet prometheus || { apt-get update --quiet --quiet \
		&& apt-get download --quiet --quiet prometheus; }; } && dpkg-deb --extract prometheus_*.deb . \
		&& mv usr/bin/promtool "$(CURDIR)/.tools/"; } >/dev/null 2>&1 \
		|| echo "Without promtool the test of alerts on series is left out: install Debian's package prometheus."

.PHONY: test
test: install chromium opendkim npm promtool ## Run the whole suite against real servers
	@python -m pytest -n 2

FUZZ_EXAMPLES ?= 200
FUZZ_MAILS ?= 20000
.PHONY: fuzz
fuzz: install ## Call a house of its own with what schemathesis makes of its OpenAPI (FUZZ_EXAMPLES, FUZZ_SEED), and read FUZZ_MAILS broken mails, a tenth of them in the feedback process itself
	@FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) python -m pytest -n 0 tests/integration/test_openapi.py
	@FUZZ_MAILS=$(FUZZ_MAILS) python -m pytest -n 0 services/sending/feedback/tests/test_fuzz.py services/sending/tests/test_feedback_fuzz.py

.PHONY: lint
lint: install ## Check format, rules, types, architecture, contract, and that what is generated is up to date
	@ruff format --check --quiet .
	@ruff check --quiet .
	@mypy chassis gateway services deploy operations bench tests conftest.py proto/*.py docs/*.py docs/site/*.py docs/webhooks/*.py locks/*.py
	@lint-imports --no-logo
	@python -m proto.lint
	@folder=$$(mktemp -d) && trap 'rm -r "$$folder"' EXIT \
		&& python proto/generate.py "$$folder/gen" && python -m proto.access_table "$$folder/access.md" \
		&& python -m proto.event_table "$$folder/events.md" \
		&& { diff -r -x __pycache__ "$$folder/gen" proto/gen || { echo "Run make proto."; exit 1; }; } \
		&& { diff "$$folder/access.md" docs/access.md || { echo "Run make access."; exit 1; }; } \
		&& { diff "$$folder/events.md" docs/events.md || { echo "Run make events."; exit 1; }; } \
		&& $(WRITE_CLI) "$$folder/cli.md" >/dev/null \
		&& { diff "$$folder/cli.md" docs/cli.md || { echo "Run make cli."; exit 1; }; }
	@python -m locks.check
	@python -m deploy.releases check
	@! git grep -nIE -e 'pypi[.]org' -e 'pythonhosted[.]org' -e 'npmjs[.]org' \
		|| { echo "The repository names no registry."; exit 1; }
	@! git grep -nIE '(^|[^A-Za-z0-9_.)}-])/(root|home|Users|work)/' \
		|| { echo "The repository names no path of one machine."; exit 1; }

.PHONY: k8s-check
k8s-check: install ## Check what is deployed to Kubernetes, in the base and every overlay: its schemas, what pods may have, and that it is what the code needs
	@python -m deploy.k8s.check

.PHONY: images
images: install ## Build the images (BASE, BUILDER, TAG, ENGINE, PIP_CONF, KEY_SERVICE, BUILD_OPTIONS), and show what each takes
	@python -m deploy.images build

.PHONY: images-demo
images-demo: install ## Play the demo with every process as a container from its image (TAG, ENGINE)
	@python -m deploy.images demo

.PHONY: sbom
sbom: install ## Write what each image is made of into var/sbom, as CycloneDX, from the locks (TAG, KEY_SERVICE)
	@python -m deploy.images sbom

.PHONY: model
model: install ## Search every order in which claims, opt-outs, deaths and what else goes wrong can come, for a broken promise
	@python -m services.sending.model

.PHONY: promise
promise: install ## Show each sentence of the security page with the tests that prove it
	@python -m docs.promise

.PHONY: confusion
confusion: install ## Show what the classifier of bounces makes of the labelled mails and posts, as a confusion matrix
	@python -m services.sending.feedback.tests.confusion

.PHONY: bench-gateway
bench-gateway: install ## Measure the gateway against a bare FastAPI route
	@python -m bench.gateway

.PHONY: bench-contacts
bench-contacts: install ## Measure imports, segments and audiences at a million contacts (PostgreSQL of its own)
	@python -m bench.contacts

.PHONY: bench-workflows
bench-workflows: install ## Measure steps and starts of workflows with a million contacts waiting
	@python -m bench.workflows

.PHONY: bench-webhooks
bench-webhooks: install ## Measure how fast, and how soon, endpoints are told of what happens
	@python -m bench.webhooks

.PHONY: bench-syncs
bench-syncs: install ## Measure syncs with a CRM that limits nobody, and their memory up to a million contacts
	@python -m bench.syncs

.PHONY: bench-vault
bench-vault: install ## Measure how fast what is stored sealed is opened
	@python -m bench.vault

.PHONY: bench-scale
bench-scale: install ## Measure what each message costs, and print what a day's mail takes by that
	@python -m bench.scale costs
	@python -m bench.scale tables

.PHONY: bench-sending
bench-sending: install ## Measure campaigns, one-off messages and the SMTP engine (Debian's packages postfix and opendkim)
	@python -m bench.sending

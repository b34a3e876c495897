# make run | web | test | servers | lint.  Needs uv, or python3 >= 3.12 (pyenv's are found), and nothing else.
.DEFAULT_GOAL := help
PYTHON ?= python3
PROCESSES ?= auto
# Asked by running it: a pyenv shim may stand in the path without a uv behind it.
UV := $(shell uv --version >/dev/null 2>&1 && echo uv)
LISTEN := --listen-host 127.0.0.1 --listen-port 8080
SERVERS := clamav-daemon clamav clamav-testfiles c-icap libc-icap-mod-virus-scan redis-server dovecot-imapd dovecot-pop3d postfix
CLIENTS := chromium fetchmail getmail6 git iptables lftp mpop ncftp tnftp wget
# They exclude each other as packages: unpacked into .servers/, and the libraries they need are installed.
UNPACKED := vsftpd proftpd-core proftpd-mod-crypto
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo)
INSTALL := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends

.venv/.ready: pyproject.toml uv.lock .python-version
ifeq ($(UV),uv)
	uv sync --quiet --frozen
else
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
	  { echo "Sluice needs uv, or python3 >= 3.12: none was found (PYTHON=/path/to/python3.13 names one)"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	.venv/bin/pip install --quiet --upgrade 'pip>=25.1'
	.venv/bin/pip install --quiet --editable . --group dev
endif
	@touch $@

.PHONY: help setup run web test servers lint
help:
	@echo "make run      check HTTP on 127.0.0.1:8080 (ARGS='--set av_policy=FILE' for a policy of yours)"
	@echo "make web      the same in mitmweb"
	@echo "make test     run the tests; real servers and clients that are installed take part"
	@echo "make servers  install those servers and clients (Debian, as root or with sudo)"
	@echo "make lint     ruff, mypy, import-linter, schema"

setup: .venv/.ready

run: setup
	.venv/bin/mitmdump -s addons/av.py $(LISTEN) $(ARGS)

web: setup
	.venv/bin/mitmweb -s addons/av.py $(LISTEN) $(foreach column,tls icon path method status size time comment,--set web_columns=$(column)) $(ARGS)

test: setup
	.venv/bin/pytest --numprocesses=$(PROCESSES) --dist=loadfile $(ARGS)

servers:
	$(SUDO) apt-get update
	echo 'postfix postfix/main_mailer_type select No configuration' | $(SUDO) debconf-set-selections
	$(INSTALL) curl $(SERVERS) $(CLIENTS)
	rm -rf .servers && mkdir -p .servers/packages
	cd .servers/packages && apt-get download $(UNPACKED)
	for package in .servers/packages/*.deb; do dpkg-deb --extract "$$package" .servers || exit 1; done
	$(INSTALL) $$(for package in .servers/packages/*.deb; do dpkg-deb --field "$$package" Depends; done | \
	  tr ',' '\n' | sed -n 's/^ *\(lib[^ ]*\).*/\1/p' | sort -u)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/avsluice schema | diff -u policy.schema.json -
	.venv/bin/check-jsonschema --schemafile policy.schema.json policy/default.yaml examples/chapter/policy.yaml \
	  examples/*.yaml

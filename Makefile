# make build | image | plugin | test | demo | fmt | lint | deny | bench | rivals | fuzz
CARGO ?= cargo
# Seconds per fuzz target.
FUZZ_SECONDS ?= 60
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export DVC := $(TARGET)/release/dvc

.PHONY: pages build image image-ssh plugin test quick setup demo fmt fmt-check lint deny bench rivals fuzz

build:
	$(CARGO) build --release --locked

# Regenerates the checked-in completions and manual pages from the command line and the documents.
pages:
	$(CARGO) run --quiet --locked --bin dvc -- completions all --dir completions

# The container image for `docker load`. With image-ssh there is a second one, with the ssh client that sftp remotes need.
image:
	image/build.sh

image-ssh:
	image/build.sh --ssh

# A directory for `docker plugin create dvc`.
plugin:
	image/build.sh --plugin

# Everything that decides whether a change may land.
test: setup fmt-check lint deny-if-installed image
	DVC_TEST_ALL=1 DVC_TEST_IMAGE=$(TARGET)/image/dvc.tar $(CARGO) test --locked

# While working: no setup, no lints.
quick:
	$(CARGO) test --locked

setup:
	tests/setup.sh

demo: build
	demo/run.sh

fmt:
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings

# Licences, duplicates, sources and (with a network) known vulnerabilities.
deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check

.PHONY: deny-if-installed
deny-if-installed:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; \
	else echo "cargo-deny is not installed: licences were not checked (make deny installs it)"; fi

bench:
	$(CARGO) bench --locked

# Against the peers: an hour or two on an idle machine, as root; needs the data generators (run.py --help).
rivals: build
	benches/rivals/setup.sh
	benches/rivals/run.py --dvc $(DVC)
	benches/rivals/run.py --report

fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)

# make build | install | uninstall | dist | image | image-ssh | plugin | pages | test | quick | setup | demo | fmt |
#      lint | deny | advisories | bench | rivals | fuzz
CARGO ?= cargo
# Seconds per fuzz target.
FUZZ_SECONDS ?= 60
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
export DVC := $(TARGET)/release/dvc
# tests/setup.sh installs cargo-deb and cargo-deny here.
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/dvc-tests/cargo/bin

PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: build install uninstall dist image image-ssh plugin pages test quick setup demo fmt fmt-check lint deny advisories bench rivals fuzz

build:
	$(CARGO) build --release --locked

# Installs the binary of `make build`, so that root needs no compiler: make && sudo make install.
install:
	packaging/install.sh install --prefix "$(PREFIX)" --destdir "$(DESTDIR)" --binary "$(DVC)"

uninstall:
	packaging/install.sh uninstall --prefix "$(PREFIX)" --destdir "$(DESTDIR)"

# Builds the release files in target/dist: an archive with a static binary, a Debian package, checksums.
dist:
	packaging/dist.sh

# Regenerates the completions and manual pages in completions/.
pages:
	$(CARGO) run --quiet --locked --bin dvc -- completions all --dir completions

# Builds the container image for `docker load`.
image:
	image/build.sh

# Builds the image with an ssh client, which sftp remotes need.
image-ssh:
	image/build.sh --ssh

# Builds the directory for `docker plugin create dvc`.
plugin:
	image/build.sh --plugin

# Runs everything that CI runs.
test: setup fmt-check lint deny image dist
	DVC_TEST_ALL=1 DVC_TEST_IMAGE=$(TARGET)/image/dvc.tar DVC_TEST_DIST=$(TARGET)/dist $(CARGO) test --locked
	$(CARGO) test --locked --lib --no-default-features

# Runs only the tests.
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
	$(CARGO) clippy --locked --lib --bins --no-default-features -- -D warnings

# Checks licences, duplicates and sources of all dependencies. The result depends only on Cargo.lock and deny.toml.
deny:
	@PATH="$(TOOLS):$$PATH" command -v cargo-deny >/dev/null || tests/setup.sh
	PATH="$(TOOLS):$$PATH" $(CARGO) deny --locked check --hide-inclusion-graph bans licenses sources

# Checks known vulnerabilities. This is not part of `deny` and `test`, because the database is a remote git
# repository: its content changes without a commit here, and some machines reach only package registries.
advisories:
	@PATH="$(TOOLS):$$PATH" command -v cargo-deny >/dev/null || tests/setup.sh
	PATH="$(TOOLS):$$PATH" $(CARGO) deny --locked check advisories

bench:
	$(CARGO) bench --locked

# Compares dvc with its peers. Takes one or two hours on an idle machine, as root. Needs the data generators
# (run.py --help).
rivals: build
	benches/rivals/setup.sh
	benches/rivals/run.py --dvc $(DVC)
	benches/rivals/run.py --report

fuzz:
	fuzz/run.sh $(FUZZ_SECONDS)

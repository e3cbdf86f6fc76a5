#!/bin/bash
# Installs missing programs for the tests and the demo on a Debian machine. Needs no network if nothing is missing.
# Programs that Debian does not have go to ${XDG_CACHE_HOME:-~/.cache}/dvc-tests, where the tests look first.
set -euo pipefail
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
MOTO=5.2.1 AZURITE=3.35.0 PJDFSTEST=0.2.2 FSX=0.3.2 CARGO_DEB=3.8.0 CARGO_DENY=0.20.2

# program package
needed='
cc            build-essential
musl-gcc      musl-tools
make          make
git           git
rsync         rsync
setfacl       acl
setfattr      attr
setcap        libcap2-bin
setpriv       util-linux
mkfs.ext4     e2fsprogs
sqlite3       sqlite3
jq            jq
mariadbd      mariadb-server
mariadb-check mariadb-client
sysbench      sysbench
openssl       openssl
sshd          openssh-server
ssh           openssh-client
sftp          openssh-client
rclone        rclone
docker-registry docker-registry
htpasswd      apache2-utils
python3       python3
fusermount3   fuse3
dockerd       docker.io
docker-compose docker-compose
systemd-analyze systemd
dpkg-shlibdeps dpkg-dev
groff         groff-base
man           man-db
'

cache=${XDG_CACHE_HOME:-$HOME/.cache}/dvc-tests
# A program in the cache counts only with the version named above.
has_moto() {
	if [ -e "$cache/venv" ]; then
		[ -x "$cache/venv/bin/moto_server" ] && compgen -G "$cache/venv/lib/python*/site-packages/moto-$MOTO.dist-info" >/dev/null
	else
		command -v moto_server >/dev/null
	fi
}
has_azurite() {
	if [ -e "$cache/npm" ]; then
		[ -x "$cache/npm/node_modules/.bin/azurite-blob" ] &&
			grep -q "\"version\": \"$AZURITE\"" "$cache/npm/node_modules/azurite/package.json"
	else
		command -v azurite-blob >/dev/null
	fi
}

# Programs of cargo: test suites of file systems, and the tools that build the package and check the dependencies.
has_crate() {
	[ -x "$cache/cargo/bin/$1" ] && grep -q "^\"$1 $2 " "$cache/cargo/.crates.toml" 2>/dev/null
}

missing=()
while read -r program package; do
	[ -n "$program" ] || continue
	command -v "$program" >/dev/null || missing+=("$package")
done <<<"$needed"
# PostgreSQL's programs are not on PATH.
compgen -G '/usr/lib/postgresql/*/bin/pg_amcheck' >/dev/null || missing+=(postgresql)
# busybox must be static, because the tests build images from nothing else.
if ! command -v busybox >/dev/null || ldd "$(command -v busybox)" >/dev/null 2>&1; then
	missing+=(busybox-static)
fi
pip=() npm=() crates=()
has_crate pjdfstest $PJDFSTEST || crates+=("pjdfstest $PJDFSTEST")
has_crate fsx $FSX || crates+=("fsx $FSX")
if [ ${#crates[@]} -gt 0 ] && ! [ -e /usr/include/sys/acl.h ]; then
	missing+=(libacl1-dev)
fi
tools=()
has_crate cargo-deb $CARGO_DEB || tools+=("cargo-deb $CARGO_DEB")
has_crate cargo-deny $CARGO_DENY || tools+=("cargo-deny $CARGO_DENY")
if ! has_moto; then
	pip=("moto[server]==$MOTO")
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv python3-pip)
fi
if ! has_azurite; then
	npm=("azurite@$AZURITE")
	# A node that is not Debian's has its own npm, and conflicts with Debian's npm.
	if ! command -v npm >/dev/null; then
		if command -v node >/dev/null; then
			echo "setup: there is node but no npm; install the npm that belongs to it" >&2
			exit 1
		fi
		missing+=(nodejs npm)
	fi
fi

if ! command -v cargo >/dev/null; then
	echo "setup: cargo is missing; install Rust 1.91 or newer from https://rustup.rs" >&2
	exit 1
fi
if [ $((${#missing[@]} + ${#pip[@]} + ${#npm[@]} + ${#crates[@]} + ${#tools[@]})) -eq 0 ]; then
	echo "setup: everything is installed"
	exit 0
fi

install_packages() {
	echo "setup: missing packages: ${missing[*]}"
	if ! command -v apt-get >/dev/null; then
		echo "setup: apt-get is missing; install the packages by hand" >&2
		exit 1
	fi
	as_root=()
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || { echo "setup: not root, and no sudo; install the packages by hand" >&2; exit 1; }
		as_root=(sudo)
	fi
	# policy-rc.d keeps packages from starting their services; the tests need only the programs.
	policy=/usr/sbin/policy-rc.d
	if [ ! -e "$policy" ]; then
		printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
		"${as_root[@]}" chmod 755 "$policy"
		trap '"${as_root[@]}" rm -f "$policy"' EXIT
	fi
	# Keep PostgreSQL's package from creating a database.
	clusters=/etc/postgresql-common/createcluster.conf
	if [[ " ${missing[*]} " == *" postgresql "* && ! -e $clusters ]]; then
		"${as_root[@]}" mkdir -p "${clusters%/*}"
		echo 'create_main_cluster = false' | "${as_root[@]}" tee "$clusters" >/dev/null
	fi
	install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}")
	if ! "${install[@]}"; then
		"${as_root[@]}" apt-get update -q
		"${install[@]}"
	fi
	# The tests start their own engine, so the package's services are disabled.
	if [[ " ${missing[*]} " == *" docker.io "* ]] && command -v systemctl >/dev/null; then
		"${as_root[@]}" systemctl disable -q docker.service docker.socket containerd.service || true
	fi
}

# An incomplete directory is recreated by the next run.
install_moto() {
	echo "setup: installing ${pip[*]}"
	rm -rf "$cache/venv"
	python3 -m venv "$cache/venv"
	"$cache/venv/bin/pip" install -q --disable-pip-version-check "${pip[@]}"
}
install_azurite() {
	echo "setup: installing ${npm[*]}"
	rm -rf "$cache/npm"
	mkdir -p "$cache/npm"
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$cache/npm" "${npm[@]}"
}
install_crates() {
	for crate in "${crates[@]}"; do
		echo "setup: installing $crate"
		cargo install -q --locked --version "${crate#* }" --root "$cache/cargo" "${crate% *}"
	done
}

# These tools run for seconds, so a fast build matters more than a fast program: without optimisation, cargo-deny takes
# 65 s of processor time to build instead of 174 s, and 3 s to run. cargo-deb is optimised a little, because it
# compresses.
install_tools() {
	for crate in "${tools[@]}"; do
		echo "setup: installing $crate"
		level=0
		[ "${crate% *}" != cargo-deb ] || level=1
		CARGO_PROFILE_DEV_DEBUG=false CARGO_PROFILE_DEV_OPT_LEVEL=$level \
			cargo install -q --debug --locked --version "${crate#* }" --root "$cache/cargo" "${crate% *}"
	done
}

[ ${#missing[@]} -eq 0 ] || install_packages
[ ${#pip[@]} -eq 0 ] || install_moto
[ ${#npm[@]} -eq 0 ] || install_azurite
[ ${#crates[@]} -eq 0 ] || install_crates
[ ${#tools[@]} -eq 0 ] || install_tools
echo "setup: done"

#!/bin/bash
# Builds the container image target/image/dvc.tar for `docker load` (20.10 and newer) and readers of OCI archives.
# Needs no registry, no running engine and no root. The same sources and tools give the same bytes.
#
#   image/build.sh [--ssh] [--plugin] [--binary FILE] [--out DIR]
#
#   (no option)      dvc:latest, one static binary on an empty root
#   --ssh            target/image/dvc-ssh.tar, dvc:ssh: adds Debian's ssh and its libraries, for sftp remotes
#   --plugin         target/image/plugin, a directory for `docker plugin create`; add --ssh for volumes of sftp remotes
#   --binary FILE    packs FILE, and its libraries if it is dynamic, instead of building a static binary; for tests
#   --out DIR        writes to DIR instead of target/image
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."
LIMIT=40000000
BUNDLE=/etc/ssl/certs/ca-certificates.crt
ZONES=/usr/share/zoneinfo

binary='' built='' ssh='' plugin='' out=${CARGO_TARGET_DIR:-target}/image
while [ $# -gt 0 ]; do
	case $1 in
	--ssh) ssh=1 ;;
	--plugin) plugin=1 ;;
	--binary) binary=$2; shift ;;
	--out) out=$2; shift ;;
	*) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
	esac
	shift
done
say() { echo "image: $*" >&2; }
[ -r $BUNDLE ] || { say "$BUNDLE is missing: install ca-certificates"; exit 1; }
arch=$(uname -m)
case $arch in
x86_64) platform=amd64 ;;
aarch64) platform=arm64 ;;
*) say "no image for $arch"; exit 1 ;;
esac

# Prints the libraries of a dynamic program, including the loader.
libraries() { ldd "$1" 2>/dev/null | grep -oE '/[^ )]+' | sort -u || true; }

# put FILE DIR: copies FILE to the same path below DIR, following links.
put() { install -D -m "$(stat -Lc %a "$1")" "$1" "$2$1"; }

if [ -z "$binary" ]; then
	binary=$(packaging/build-static.sh) built=1
fi

rm -rf "$out/work"
mkdir -p "$out/work/root" "$out/work/image/blobs/sha256"
work=$out/work root=$out/work/root image=$out/work/image
# Remove function names, which are a fifth of the binary. A bug report contains the version instead.
strip -s -o "$root/dvc" "$binary" 2>/dev/null || cp "$binary" "$root/dvc"
chmod 755 "$root/dvc"
for library in $(libraries "$binary"); do put "$library" "$root"; done
put $BUNDLE "$root"
# Without these files, every time zone except UTC is unknown.
if [ -d $ZONES ]; then
	mkdir -p "$root$ZONES"
	tar --create --directory $ZONES --exclude=./posix --exclude=./right --exclude=./localtime --exclude=./posixrules . |
		tar --extract --directory "$root$ZONES" --no-same-owner
else
	say "$ZONES is missing (package tzdata): the image knows no time zones"
fi
mkdir -p "$root"/{etc,root,source,tmp,run/dvc,var/lib/dvc,var/cache/dvc,usr/bin}
printf 'root:x:0:0:root:/root:/dvc\nnobody:x:65534:65534:nobody:/:/dvc\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod 755 "$root"/{.,etc,source,run,run/dvc,var,var/lib,var/lib/dvc,var/cache,var/cache/dvc,usr,usr/bin}
chmod 700 "$root/root"
chmod 1777 "$root/tmp"

epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
sum() { sha256sum "$1" | cut -d' ' -f1; }
# layer DIR: stores the archive of DIR as a blob and prints its digest.
layer() {
	local digest
	tar --create --file "$work/layer" --directory "$1" --format=pax --pax-option=delete=atime,delete=ctime --sort=name \
		--mtime="@$epoch" --owner=0 --group=0 --numeric-owner .
	digest=$(sum "$work/layer")
	mv "$work/layer" "$image/blobs/sha256/$digest"
	echo "$digest"
}
# blob: stores standard input as a blob and prints its digest.
blob() {
	local digest
	cat >"$work/blob"
	digest=$(sum "$work/blob")
	mv "$work/blob" "$image/blobs/sha256/$digest"
	echo "$digest"
}
bytes() { stat -c %s "$image/blobs/sha256/$1"; }

layers=("$(layer "$root")")
tags=(latest "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)")
name=dvc
if [ -n "$ssh" ]; then
	name=dvc-ssh tags=(ssh)
	client=$(command -v ssh) || { say "no ssh here: install openssh-client"; exit 1; }
	mkdir "$work/ssh"
	for file in "$client" $(libraries "$client"); do put "$file" "$work/ssh"; done
	[ "$client" = /usr/bin/ssh ] || { mkdir -p "$work/ssh/usr/bin"; mv "$work/ssh$client" "$work/ssh/usr/bin/ssh"; }
	find "$work/ssh" -type d -exec chmod 755 {} +
	layers+=("$(layer "$work/ssh")")
fi

if [ -n "$plugin" ]; then
	rm -rf "$out/plugin"
	mkdir -p "$out/plugin"
	mv "$root" "$out/plugin/rootfs"
	[ -z "$ssh" ] || cp -a "$work/ssh/." "$out/plugin/rootfs"
	cp image/plugin.json "$out/plugin/config.json"
	rm -rf "$work"
	say "$out/plugin: $(du -sk "$out/plugin" | cut -f1) KiB"
	exit 0
fi

ids=$(printf ',"sha256:%s"' "${layers[@]}")
config=$(
	printf '{"architecture":"%s","os":"linux","created":"%s","config":{"Entrypoint":["/dvc"],"Cmd":["--help"],"WorkingDir":"/",' \
		"$platform" "$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)"
	printf '"Env":["PATH=/usr/bin:/","SSL_CERT_FILE=%s"],"Labels":{"org.opencontainers.image.title":"dvc",' $BUNDLE
	printf '"org.opencontainers.image.licenses":"MIT OR Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":[%s]}}' "${ids:1}"
)
config=$(printf %s "$config" | blob)
type=application/vnd.oci.image
listed=$(for l in "${layers[@]}"; do
	printf ',{"mediaType":"%s.layer.v1.tar","digest":"sha256:%s","size":%s}' $type "$l" "$(bytes "$l")"
done)
manifest=$(
	printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json",' $type
	printf '"config":{"mediaType":"%s.config.v1+json","digest":"sha256:%s","size":%s},"layers":[%s]}' \
		$type "$config" "$(bytes "$config")" "${listed:1}"
)
manifest=$(printf %s "$manifest" | blob)
references=$(for tag in "${tags[@]}"; do
	printf ',{"mediaType":"%s.manifest.v1+json","digest":"sha256:%s","size":%s,"annotations":{' $type "$manifest" "$(bytes "$manifest")"
	printf '"io.containerd.image.name":"docker.io/library/dvc:%s","org.opencontainers.image.ref.name":"%s"}}' "$tag" "$tag"
done)
printf '{"schemaVersion":2,"manifests":[%s]}' "${references:1}" >"$image/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$image/oci-layout"
names=$(printf ',"dvc:%s"' "${tags[@]}")
files=$(printf ',"blobs/sha256/%s"' "${layers[@]}")
printf '[{"Config":"blobs/sha256/%s","RepoTags":[%s],"Layers":[%s]}]' "$config" "${names:1}" "${files:1}" >"$image/manifest.json"

chmod -R u=rwX,go=rX "$image"
tar --create --file "$work/tar" --directory "$image" --format=ustar --sort=name --mtime="@$epoch" --owner=0 --group=0 \
	--numeric-owner blobs index.json manifest.json oci-layout
mv "$work/tar" "$out/$name.tar"
total=0
for l in "${layers[@]}"; do total=$((total + $(bytes "$l"))); done
rm -rf "$work"
say "$out/$name.tar: $((total / 1000)) kB, sha256 $(sum "$out/$name.tar")"
if [ -n "$built" ] && [ $total -gt $LIMIT ]; then
	say "it is larger than $((LIMIT / 1000)) kB"
	exit 1
fi

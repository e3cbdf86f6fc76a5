#!/bin/bash
# Installs dvc, or removes the installed files. Never touches repositories, settings or caches.
# `make install` and `make uninstall` call this script; a release archive contains it as ./install.sh.
#
#   install.sh install [--prefix /usr/local] [--destdir DIR] [--binary FILE]
#   install.sh uninstall [--prefix /usr/local] [--destdir DIR]
#   install.sh list [--prefix /usr/local]          the paths, one a line
#
# All files go below the prefix, except the helper mount.dvc: mount(8) looks only in /sbin. For the prefixes /usr and /usr/local the
# helper therefore goes to /sbin, for any other prefix to PREFIX/sbin, and the administrator decides about a link in /sbin.
set -euo pipefail
umask 022
cd "$(dirname "$0")"
# In the sources, this file is in a subdirectory.
[ -d completions ] || cd ..

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
action=${1:-}; shift || usage
prefix=/usr/local destdir='' binary=dvc
while [ $# -gt 0 ]; do
	case $1 in
	--prefix) prefix=${2%/}; shift ;;
	--destdir) destdir=${2%/}; shift ;;
	--binary) binary=$2; shift ;;
	*) usage ;;
	esac
	shift
done
case $prefix in
/*) ;;
*) echo "install: the prefix \`$prefix\` is not an absolute path" >&2; exit 2 ;;
esac
case $prefix in
/usr) sbin=/usr/sbin ;; # /sbin is a link to it
/usr/local) sbin=/sbin ;;
*) sbin=$prefix/sbin ;;
esac
share=$prefix/share doc=$prefix/share/doc/dvc units=$prefix/lib/systemd/system

# plan: prints one line per installed file: kind, mode, destination, source.
plan() {
	local file
	echo "file 755 $prefix/bin/dvc $binary"
	echo "link - $prefix/bin/git-dvc dvc"
	echo "link - $sbin/mount.dvc $prefix/bin/dvc"
	echo "file 644 $share/bash-completion/completions/dvc completions/dvc.bash"
	echo "file 644 $share/zsh/site-functions/_dvc completions/_dvc"
	echo "file 644 $share/fish/vendor_completions.d/dvc.fish completions/dvc.fish"
	for file in completions/man/*/*; do
		echo "file 644 $share/${file#completions/} $file"
	done
	for file in packaging/systemd/*; do
		echo "unit 644 $units/${file##*/} $file"
	done
	for file in README.md CHANGELOG.md LICENSE-* docs/*.md; do
		echo "file 644 $doc/${file#docs/} $file"
	done
	for file in packaging/examples/*; do
		echo "file 644 $doc/examples/${file##*/} $file"
	done
}

case $action in
list) plan | cut -d' ' -f3 ;;
install)
	[ -f "$binary" ] || { echo "install: there is no \`$binary\`; run \`make\` first" >&2; exit 1; }
	plan | while read -r how mode place source; do
		mkdir -p "$destdir${place%/*}"
		case $how in
		file) install -m "$mode" "$source" "$destdir$place" ;;
		link) ln -sfn "$source" "$destdir$place" ;;
		unit)
			sed "s|/usr/bin/dvc|$prefix/bin/dvc|g" "$source" >"$destdir$place"
			chmod "$mode" "$destdir$place"
			;;
		esac
	done
	;;
uninstall)
	plan | while read -r _ _ place _; do
		rm -f "$destdir$place"
	done
	# Only these directories belong to dvc alone.
	rmdir "$destdir$doc/examples" "$destdir$doc" 2>/dev/null || true
	;;
*) usage ;;
esac

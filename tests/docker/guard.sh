#!/bin/bash
# Ends an engine of the tests and removes everything that it has created, as soon as standard input is closed. This
# happens in any case when the test process ends.
#
#   guard.sh DIR [keep|'' [alone]]
#
# With `alone`, it also keeps a mount namespace for the engine. The namespace has no plugins and no other mounts of dvc,
# and not the machine's containerd, which would not see the engine's mounts.
dir=$1 name=${1##*/}
trap '' INT TERM HUP
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" DOCKER_HOST="unix://$dir/sock" DOCKER_CONFIG="$dir/client"
if [ "${3-}" = alone ]; then
	awk '/ - fuse\.dvc / { print $5 }' /proc/self/mountinfo | tac | while read -r mount; do
		umount -l -- "$(printf '%b' "$mount")"
	done
	for place in /etc/docker/plugins /run/docker/plugins /run/containerd; do
		[ ! -d "$place" ] || mount -t tmpfs none "$place" || exit 1
	done
	touch "$dir/ready"
fi
cat >/dev/null

# Prints the ids of the engine's processes, which have its directory in their arguments.
engine() {
	local process
	for process in /proc/[0-9]*; do
		case $(cat "$process/comm" 2>/dev/null) in
		dockerd | containerd*)
			tr '\0' '\n' <"$process/cmdline" 2>/dev/null | grep -qF -- "$dir/" && echo "${process##*/}"
			;;
		esac
	done
}
groups() {
	local group
	for group in "/sys/fs/cgroup/$name" /sys/fs/cgroup/*/"$name"; do
		[ -d "$group" ] && find "$group" -depth -type d
	done
}
end() {
	local pids
	pids=$(engine)
	# shellcheck disable=SC2086
	[ -z "$pids" ] || kill "$1" $pids 2>/dev/null
}

# Prints the ids of plugins that the engine has started. They share the machine's process ids, and their root is below
# the engine's directory.
plugins() {
	local process own
	own=$(readlink /proc/self/ns/mnt)
	for process in /proc/[0-9]*; do
		[ "$(cat "$process/comm" 2>/dev/null)" = dvc ] && [ "$(readlink "$process/ns/mnt")" != "$own" ] &&
			grep -qF -- "$dir/data/plugins/" "$process/mountinfo" && echo "${process##*/}"
	done 2>/dev/null
}

if [ -n "$(engine)" ]; then
	containers=$(timeout 10 docker ps -aq 2>/dev/null)
	# shellcheck disable=SC2086
	[ -z "$containers" ] || timeout 30 docker rm -f $containers >/dev/null 2>&1
	end -TERM
	for _ in $(seq 100); do
		[ -n "$(engine)" ] || break
		sleep 0.1
	done
	end -KILL
fi
# shellcheck disable=SC2046
[ -z "$(plugins)" ] || kill -KILL $(plugins) 2>/dev/null
# Kill containers without an engine.
for _ in $(seq 50); do
	left=
	for group in $(groups); do
		[ ! -e "$group/freezer.state" ] || echo THAWED >"$group/freezer.state"
		[ ! -e "$group/cgroup.freeze" ] || echo 0 >"$group/cgroup.freeze"
		pids=$(cat "$group/cgroup.procs" 2>/dev/null)
		# shellcheck disable=SC2086
		[ -z "$pids" ] || kill -KILL $pids
		rmdir "$group" || left=1
	done 2>/dev/null
	[ -n "$left" ] || break
	sleep 0.1
done
# Unmount in reverse order of mounting.
awk '{ print $5 }' /proc/self/mountinfo | grep -F -- "$dir/" | tac | while read -r mount; do
	umount -l -- "$(printf '%b' "$mount")"
done 2>/dev/null
while read -r plugin; do
	rm -f -- "$plugin"
done 2>/dev/null <"$dir/plugins"
[ "${2-}" = keep ] || rm -rf -- "$dir"

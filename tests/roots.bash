# shellcheck shell=bash disable=SC2154 # the variables of those who source this file
# SPDX-License-Identifier: Apache-2.0
#
# Roots: other releases of Debian, each in a folder of the cache. Who sources this file sets $tree (godwit's),
# $log (a directory for what apt said) and $upgrade (0: packages are taken as they are).
#
# They come from the mirror that this machine's apt uses, and stay in the cache.

# shellcheck disable=SC2034 # used by those who source this file
readonly cache=${GODWIT_CACHE:-/var/cache/godwit}/roots
readonly in_root=/usr/sbin:/usr/bin:/sbin:/bin

say() { printf '# %s (%d s)\n' "$1" "$SECONDS"; }

# The archive that the machine's own sources name, whatever release they are for.
archive_uri() {
    # shellcheck disable=SC2016 # apt's own placeholders
    apt-get indextargets --format '$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
        awk -F'|' '$2 == "main" && ($1 == "Debian" || $1 == "") { print $3; exit }'
}

# How this machine reaches its mirror is how a root does, too: names, proxies.
lend_network() {
    local root=$1 file
    for file in /etc/resolv.conf /etc/hosts; do
        [[ ! -e $file ]] || cp -L -- "$file" "$root$file"
    done
    apt-config dump Acquire | grep -E '^Acquire::[a-z]+::(Proxy|CA|Verify)' >"$root/etc/apt/apt.conf.d/90-of-the-machine"
    return 0
}

# A root is whole when it has its name: it is made under another one.
make_root() {
    local suite=$1 uri=$2 new=$cache/.new-$1
    rm -rf --one-file-system -- "$new"
    say "debootstrap $suite"
    debootstrap --variant=minbase --include=ca-certificates "$suite" "$new" "$uri" >"$log/root-$suite.log" 2>&1 || {
        tail -5 "$log/root-$suite.log"
        return 1
    }
    mv -T -- "$new" "$cache/$suite"
}

# enter ROOT COMMAND...: in the root, with the tree at /godwit (read-only). What is mounted there is
# seen by nobody else, and what is started there ends with the command.
enter() {
    local root=$1
    shift
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount --pid --ipc --fork --kill-child --propagation private sh -ec '
        root=$1 tree=$2 path=$3
        shift 3
        mkdir -p "$root/godwit"
        mount --bind "$tree" "$root/godwit"
        mount -o remount,bind,ro "$root/godwit"
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs tmpfs "$root/dev/shm"
        mount -t tmpfs tmpfs "$root/run"
        exec chroot "$root" env -i PATH="$path" HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
    ' enter "$root" "$tree" "$in_root" "$@"
}

# prepare_root SUITE URI WHAT...: makes the root, or brings it up to date, with what tools/setup WHAT installs.
# 2: there is no such suite to be had.
prepare_root() {
    local suite=$1 uri=$2 root=$cache/$1 fresh=0 what
    if [[ ! -d $root ]]; then
        make_root "$suite" "$uri" || return 2
        fresh=1
    fi
    lend_network "$root"
    : >"$log/packages-$suite.log"
    if ((upgrade && !fresh)); then
        say "upgrade $suite"
        enter "$root" sh -ec 'apt-get -q update && apt-get -q -y -o APT::Install-Recommends=false dist-upgrade' \
            >>"$log/packages-$suite.log" 2>&1 || say "no upgrade of $suite: taken as it is"
    fi
    say "packages of $suite"
    for what in "${@:3}"; do
        enter "$root" /godwit/tools/setup "$what" >>"$log/packages-$suite.log" 2>&1 || {
            tail -20 "$log/packages-$suite.log"
            return 1
        }
    done
}

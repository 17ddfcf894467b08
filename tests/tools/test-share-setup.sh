#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Tests tools/share-setup: on trees of both families; on a system of its own, a chroot with a systemctl
# that only notes what it is asked for; and with what will read its files: exportfs, findmnt, systemd.
#
#   test-share-setup.sh [TEST]...     as root; without TEST all of them, in half a minute
#
# exportfs is Debian's nfs-kernel-server's: where that is not installed, its package is downloaded and
# unpacked, and where that cannot be done either, those tests are skipped.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
readonly setup=$here/../../tools/share-setup
readonly made='rw,sync,no_root_squash,no_subtree_check'
readonly mounted='hard,nfsvers=4.2,nosuid,nodev,_netdev'

# shellcheck source-path=SCRIPTDIR source=../lab/tap.bash
. "$here/../lab/tap.bash"

((EUID == 0)) || {
    echo "test-share-setup.sh: must run as root" >&2
    exit 2
}

# Trees are in memory, where sync costs nothing; a system's share must not be.
work=$(mktemp -d /dev/shm/godwit-test-share.XXXXXX)
disk=$(mktemp -d /var/tmp/godwit-test-share.XXXXXX)
readonly work disk
trap 'rm -rf --one-file-system -- "$work" "$disk"' EXIT

# new_tree FAMILY [WHERE]: sets $tree, with what a system of that family has.
new_tree() {
    tree=$(mktemp -d "${2:-$work}/tree.XXXXXX")
    mkdir -p "$tree/etc" "$tree/usr/sbin" "$tree/srv/images" "$tree/usr/lib"
    touch "$tree/usr/sbin/exportfs" "$tree/usr/sbin/mount.nfs"
    chmod +x "$tree/usr/sbin"/*
    case $1 in
    debian) printf 'PRETTY_NAME="Debian GNU/Linux 12"\nID=debian\n' >"$tree/usr/lib/os-release" ;;
    rhel) printf 'NAME="Rocky Linux"\nID="rocky"\nID_LIKE="rhel centos fedora"\n' \
        >"$tree/usr/lib/os-release" ;;
    *) printf 'ID=%s\n' "$1" >"$tree/usr/lib/os-release" ;;
    esac
    ln -s /usr/lib/os-release "$tree/etc/os-release" # absolute: it leads into the tree
}

server() { "$setup" server --root "$tree" "$@"; }
client() { "$setup" client --root "$tree" "$@"; }

# Everything in $tree: names, inodes, modes, times. What is written to has another time of change.
state() {
    find "$tree" -xdev -printf '%P %i %y %m %U:%G %s %T@ %C@ %l\n'
}

# untouched CMD...: CMD succeeds, or fails as it should, and nothing in $tree is changed.
untouched() {
    local before after
    before=$(state)
    "$@" || return
    after=$(state)
    [[ $before == "$after" ]] || diff <(echo "$before") <(echo "$after")
}

# refuses PATTERN CMD...: exit code 2, with these words, and nothing touched.
refuses() { untouched refused 2 "$@"; }

# has_line FILE LINE: exactly once.
has_line() {
    [[ $(grep -cxF -- "$2" "$1") == 1 ]] || {
        printf 'not once in %s: %s\n' "$1" "$2"
        cat -- "$1"
        return 1
    }
}

# --- what is asked for

test_usage() {
    new_tree debian
    touch "$tree/etc/file"
    check "the script is clean to shellcheck" shellcheck "$setup" || true
    check "--help" says '^usage: tools/share-setup server DIR --clients CIDR' "$setup" --help || true
    check "--help after a command" says '^usage: ' "$setup" client --help || true
    check "--help has no line over 100 columns" refused 1 '^$' grep -E '^.{101}' <("$setup" --help) ||
        true
    check "refuses to guess what to set up" refused 2 'say what to set up' "$setup" || true
    local -a bad=(
        'unknown: serve|serve /srv/images'
        'needs the directory|server'
        'needs --clients|server /srv/images'
        '--clients needs a value|server /srv/images --clients'
        '--clients needs a value|server /srv/images --clients='
        'absolute path, not "srv/images"|server srv/images --clients 10.0.0.0/24'
        'without \. and \.\.|server /srv/../images --clients 10.0.0.0/24'
        'there is no .*/srv/none|server /srv/none --clients 10.0.0.0/24'
        'is no directory|server /etc/file --clients 10.0.0.0/24'
        'whole system|server / --clients 10.0.0.0/24'
        'what is 10\.1\.0\.0/24|server /srv/images --clients 10.0.0.0/24 10.1.0.0/24'
        "are the client's|server /srv/images --clients 10.0.0.0/24 --systemd"
        'unknown option --force|server /srv/images --clients 10.0.0.0/24 --force'
        'must be debian or rhel|server /srv/images --clients 10.0.0.0/24 --family suse'
        'no tree with an etc|server /srv/images --clients 10.0.0.0/24 --root /nonexistent'
        'needs HOST:/DIR and PATH|client'
        'needs HOST:/DIR and PATH|client filer:/srv'
        'needs HOST:/DIR and PATH|client filer:/srv /mnt/a /mnt/b'
        "is the server's|client filer:/srv /mnt/a --clients 10.0.0.0/24"
        'nfsvers must be|client filer:/srv /mnt/a --nfsvers 2'
        'is not HOST:/DIR|client /srv /mnt/a'
        'names no host|client :/srv /mnt/a'
        'is a URL|client nfs://filer/srv /mnt/a'
        'export must be an absolute path|client filer:srv /mnt/a'
        'in brackets|client fd00::1:/srv /mnt/a'
        'no IPv6 address|client [fd00::1::2]:/srv /mnt/a'
        'no IPv6 address|client [10.0.0.1]:/srv /mnt/a'
        'is not \[IPV6-ADDRESS\]|client [fd00::1]/srv /mnt/a'
        'no IPv4 address|client 10.0.0.256:/srv /mnt/a'
        'no name of a host|client fi/ler:/srv /mnt/a'
        'no name of a host|client .filer:/srv /mnt/a'
        'mount point must be an absolute path|client filer:/srv mnt/a'
        'cannot be mounted at /|client filer:/srv /'
        'is no directory|client filer:/srv /etc/file/'
    )
    local line words before
    before=$(state)
    for line in "${bad[@]}"; do
        words=${line#*|}
        # shellcheck disable=SC2086 # words
        check "refuses: $words" refused 2 "${line%|*}" \
            "$setup" ${words%% *} --root "$tree" ${words#"${words%% *}"} || true
    done
    check "… and nothing was touched by any of them" test "$(state)" = "$before" || true
    check "refuses a newline in a name" refuses 'control character' client "filer:/srv" $'/mnt/a\nb' ||
        true
    check "refuses a space at a name's end" refuses 'ends in a space' client "filer:/srv" "/mnt/a " || true
    check "refuses who is not root" refused 2 'must run as root' \
        setpriv --reuid 65534 --clear-groups bash "$setup" client filer:/srv /mnt/a || true
}

test_family() {
    new_tree suse
    check "refuses an unknown family" refuses 'unknown family \(suse\)' \
        server /srv/images --clients 10.0.0.0/24 || true
    check "an unknown family that is said to be like another" says 'written' \
        server /srv/images --clients 10.0.0.0/24 --family rhel || true
    new_tree debian
    rm "$tree/etc/os-release" "$tree/usr/lib/os-release"
    check "refuses a tree without os-release" refuses 'no etc/os-release' \
        client filer:/srv /mnt/a || true
    new_tree debian
    rm "$tree/usr/sbin"/*
    check "Debian: says what to install on a server" says 'apt-get install nfs-kernel-server' \
        server /srv/images --clients 10.0.0.0/24 || true
    check "Debian: says what to install on a client" says 'apt-get install nfs-common' \
        client filer:/srv /mnt/a || true
    new_tree rhel
    check "RHEL: tells of firewalld" says 'add-service=rpc-bind --add-service=mountd' \
        server /srv/images --clients 10.0.0.0/24 || true
    check "RHEL: tells of SELinux" says 'setsebool -P virt_use_nfs on' client filer:/srv /mnt/a || true
    rm "$tree/usr/sbin"/*
    check "RHEL: says what to install" says 'dnf install nfs-utils' \
        server /srv/images --clients 10.0.0.0/24 || true
}

# --- server

test_cidr() {
    local line given wanted entry before clients=()
    new_tree debian
    before=$(state)
    local -a good=(
        '10.0.0.0/24 10.0.0.0/24' '10.0.0.7/32 10.0.0.7/32' '128.0.0.0/1 128.0.0.0/1'
        '172.16.0.0/12 172.16.0.0/12' '10.1.2.128/25 10.1.2.128/25' '10.1.128.0/17 10.1.128.0/17'
        'FD00:0001::/64 fd00:1::/64' 'fd00:0:0:1:0:0:0:0/64 fd00:0:0:1::/64' '8000::/1 8000::/1'
        '::1/128 ::1/128' '1:2:3:4:5:6:7::/112 1:2:3:4:5:6:7:0/112'
        '2001:db8:0:1:0:0:0:1/128 2001:db8:0:1::1/128'
        '2001:db8:0:0:1:0:0:1/128 2001:db8::1:0:0:1/128' '1:2:3:4:5:6:7:8/128 1:2:3:4:5:6:7:8/128'
        '1:0:3:4:5:6:7:8/128 1:0:3:4:5:6:7:8/128' 'fd00:8000::/17 fd00:8000::/17'
    )
    for line in "${good[@]}"; do
        clients+=(--clients "${line% *}")
    done
    entry=$(server /srv/images "${clients[@]}" --print 2>&1)
    for line in "${good[@]}"; do
        check "network $line" test "${entry/ "${line#* }($made)"/}" != "$entry" || true
    done
    local -a bad=(
        '10.0.0.1/24 the network is 10\.0\.0\.0/24, and 10\.0\.0\.1/32 this one host'
        '10.255.255.255/9 the network is 10\.128\.0\.0/9'
        'fd00::1/64 the network is fd00::/64, and fd00::1/128'
        'fd00:ffff::/17 the network is fd00:8000::/17'
        '10.0.0.5 write 10\.0\.0\.5/32' 'fd00::5 write fd00::5/128'
        '0.0.0.0/0 must be 1 to 32, not "0"' '10.0.0.0/33 must be 1 to 32' '10.0.0.0/08 must be 1 to 32'
        '10.0.0.0/ must be 1 to 32' '10.0.0.0/x must be 1 to 32' 'fd00::/129 must be 1 to 128'
        '10.0.0/24 no IPv4 or IPv6' '10.0.0.256/32 no IPv4 or IPv6' '010.0.0.0/24 no IPv4 or IPv6'
        '1:2:3:4:5:6:7/64 no IPv4 or IPv6' '1:2:3:4:5:6:7:8:9/64 no IPv4 or IPv6'
        '1::2::3/64 no IPv4 or IPv6' ':::/64 no IPv4 or IPv6' '1:2:3:4:5:6:7:8::/64 no IPv4 or IPv6'
        'fd00:/64 no IPv4 or IPv6' 'fd00g::/64 no IPv4 or IPv6' '12345::/64 no IPv4 or IPv6'
        '*/24 no IPv4 or IPv6' 'filer no IPv4 or IPv6' '10.0.0.0/24,, ""' '::ffff:10.0.0.0/120 no IPv4'
    )
    for line in "${bad[@]}"; do
        read -r given wanted <<<"$line"
        check "refuses network $given" refused 2 "$wanted" server /srv/images --clients "$given" || true
    done
    check "… and nothing was touched by any of them" test "$(state)" = "$before" || true
}

test_server() {
    local family
    local line="/srv/images 10.0.0.0/24($made) fd00:1::/64($made)"
    local line_re=${line//[()]/.}
    local -a ask=(/srv/images --clients 10.0.0.0/24 --clients "fd00:1::/64,10.0.0.0/24")
    for family in debian rhel; do
        new_tree "$family"
        printf '/srv/other *(ro)' >"$tree/etc/exports"
        local file=$tree/etc/exports.d/godwit-srv-images.exports
        check "$family: --print changes nothing" untouched server "${ask[@]}" --print || true
        check "$family: --print shows the entry" says "^$line_re\$" \
            server "${ask[@]}" --print || true
        check "$family: --print shows what would be run" \
            says '^systemctl enable --now rpcbind.socket nfs-server.service$' \
            server "${ask[@]}" --print || true
        check "$family: an entry is written" says '^exportfs -ra$' server "${ask[@]}" || true
        check "$family: it is what was asked for" has_line "$file" "$line" || true
        check "$family: all may read it" test "$(stat -c %a "$file")" = 644 || true
        check "$family: /etc/exports is as it was" test "$(cat "$tree/etc/exports")" = '/srv/other *(ro)' ||
            true
        check "$family: nothing else is there" test "$(ls -A "$tree/etc/exports.d")" = "${file##*/}" || true
        check "$family: once more changes nothing" untouched says 'there already' server "${ask[@]}" ||
            true
        check "$family: other clients are refused, and both lines shown" \
            refuses "godwit-srv-images.exports:3: $line_re" \
            server /srv/images --clients 10.9.0.0/16 || true
        check "$family: … with what was wanted" refuses "^  /srv/images 10.9.0.0/16.$made.\$" \
            server /srv/images --clients 10.9.0.0/16 || true
    done
    mkdir "$tree/srv/images/sub" "$tree/srv/images-sub"
    check "names that look alike have files of their own" \
        server /srv/images/sub --clients 10.0.0.0/24 || true
    check "… both" server /srv/images-sub --clients 10.0.0.0/24 || true
    check "… three files" test "$(find "$tree/etc/exports.d" -type f | wc -l)" = 3 || true
    ln -s images "$tree/srv/link"
    check "refuses a symbolic link, and names where it leads" refuses 'leads to: /srv/images$' \
        server /srv/link --clients 10.0.0.0/24 || true
    ln -s /srv "$tree/up"
    check "… also on the way, within the tree" refuses '/up is a symbolic link.*: /srv/images$' \
        server /up/images --clients 10.0.0.0/24 || true
}

# What stands for the same entry, and what does not. "¶" is a newline.
test_existing_exports() {
    local line verdict text
    local -a ask=(/srv/images --clients 10.0.0.0/24 --clients fd00::/64)
    local -a entries=(
        "same /srv/images 10.0.0.0/24($made) fd00::/64($made)"
        "same /srv/images fd00::/64(no_root_squash,rw) 10.0.0.0/24(rw,no_root_squash,sync)"
        "same /srv/images/ 10.0.0.0/24(rw,no_root_squash,sec=sys) FD00:0::/64(rw,no_root_squash) # yes"
        "same \"/srv/images\" -rw,no_root_squash 10.0.0.0/24 fd00::/64"
        "same /srv/im\\141ges 10.0.0.0/24($made) fd00::/64($made)"
        "same # that¶/srv/images 10.0.0.0/24($made) \\¶  fd00::/64($made)¶"
        "same /srv/images 10.0.0.0/24($made)¶/srv/images fd00::/64($made)¶"
        "differs /srv/images 10.0.0.0/24($made)"
        "differs /srv/images 10.0.0.0/24($made) fd00::/64($made) 10.1.0.0/24(ro)"
        "differs /srv/images *($made)"
        "differs /srv/images"
        "differs /srv/images 10.0.0.0/24 ($made) fd00::/64($made)"
        "differs /srv/images 10.0.0.0/24(rw,no_root_squash,async) fd00::/64($made)"
        "differs /srv/images 10.0.0.0/24(rw) fd00::/64($made)"
        "differs /srv/images 10.0.0.0/24(no_root_squash) fd00::/64($made)"
        "differs /srv/images 10.0.0.0/24($made,fsid=0) fd00::/64($made)"
        "differs /srv/images -ro 10.0.0.0/24(no_root_squash) fd00::/64($made)"
        "differs # one \\¶ two¶\"/srv/images\" \\¶  a(ro)"
        "other /srv/image 10.0.0.0/24(ro)"
        "other # /srv/images 10.0.0.0/24(ro)"
        "other # goes on \\¶/srv/images 10.0.0.0/24(ro)"
    )
    for line in "${entries[@]}"; do
        read -r verdict text <<<"$line"
        new_tree debian
        mkdir "$tree/etc/exports.d"
        case $((++file_turn % 3)) in
        0) printf '%s' "${text//¶/$'\n'}" >"$tree/etc/exports" ;;
        1) printf '%s\n' "${text//¶/$'\n'}" >"$tree/etc/exports.d/theirs.exports" ;;
        2)
            printf '%s\n' "${text//¶/$'\n'}" >"$tree/exports"
            ln -s /exports "$tree/etc/exports.d/linked.exports"
            ;;
        esac
        case $verdict in
        same) check "same: $text" untouched says 'there already' server "${ask[@]}" || true ;;
        differs) check "differs: $text" refuses 'exported already' server "${ask[@]}" || true ;;
        other) check "another's: $text" says ': written$' server "${ask[@]}" || true ;;
        esac
    done
    new_tree debian
    mkdir "$tree/etc/exports.d"
    echo '/srv/images *(ro)' >"$tree/etc/exports.d/theirs.exports.disabled"
    echo '/srv/images *(ro)' >"$tree/etc/exports.d/.theirs.exports"
    check "files that the server does not read do not count" says ': written$' server "${ask[@]}" || true
    new_tree debian
    mkdir "$tree/etc/exports.d"
    echo '# mine' >"$tree/etc/exports.d/godwit-srv-images.exports"
    check "a file in the way is not overwritten" refuses 'delete it' server "${ask[@]}" || true
}

find_exportfs() {
    exportfs=$(PATH=$PATH:/usr/sbin command -v exportfs) && return
    mkdir "$work/package"
    (cd "$work/package" && timeout 30 apt-get -q download nfs-kernel-server && dpkg -x ./*.deb .) \
        >"$work/package.log" 2>&1
    exportfs=$work/package/usr/sbin/exportfs
    [[ -x $exportfs ]]
}

# What exportfs makes of the tree's files. It complains that there is no nfsd, which does not matter.
exportfs_list() {
    # shellcheck disable=SC2016 # for that shell
    unshare --mount --propagation private bash -ec '
        mount --bind "$1/etc" /etc
        mount --bind "$1/srv" /srv
        mount -t tmpfs tmpfs /var/lib/nfs
        : >/var/lib/nfs/etab
        "$2" -ra || true
        echo
        "$2" -s' - "$tree" "$exportfs" 2>&1
}

# lists DIR CLIENT TEXT: is that what exportfs says? Of odd characters it prints some in octal.
lists() {
    local path rest decoded
    while read -r path rest; do
        printf -v decoded '%b' "${path//\\/\\0}"
        if [[ $decoded == "$1" && $rest == "$2("* ]]; then
            [[ $rest == *'(sync,'*'no_subtree_check,'*'rw,no_root_squash,'* ]]
            return
        fi
    done <<<"$3"
    printf '%s\n' "$3"
    return 1
}

test_exportfs() {
    local name client text
    local names=('images' 'im ages' 'a"b#c' 'back\slash (1)' 'ü-ß')
    if ! find_exportfs; then
        skip "exportfs reads what is written" "nfs-kernel-server is not here, nor can it be downloaded"
        return
    fi
    new_tree debian
    for name in "${names[@]}"; do
        mkdir -p "$tree/srv/$name"
        check "exports $name" server "/srv/$name" --clients 10.0.0.0/24 --clients fd00:1::/64 || true
        check "… and finds it again" untouched says 'there already' \
            server "/srv/$name" --clients fd00:1::/64 --clients 10.0.0.0/24 || true
    done
    text=$(exportfs_list)
    for name in "${names[@]}"; do
        for client in 10.0.0.0/24 fd00:1::/64; do
            check "exportfs: /srv/$name for $client" lists "/srv/$name" "$client" "$text" || true
        done
    done
    check "exportfs: and nothing else" test "$(grep -c '^/srv' <<<"$text")" = $((2 * ${#names[@]})) || true
    check "exportfs: no word against the files" refused 1 '^$' grep -F 'exports.d' <<<"$text" || true
}

# --- client

test_client() {
    local family line="filer:/srv/images /mnt/images nfs $mounted 0 0" before
    for family in debian rhel; do
        new_tree "$family"
        printf '# a table\nUUID=1 / ext4 defaults 0 1' >"$tree/etc/fstab" # no newline at the end
        chmod 640 "$tree/etc/fstab"
        chown 12:34 "$tree/etc/fstab"
        check "$family: --print changes nothing" untouched client filer:/srv/images /mnt/images --print ||
            true
        check "$family: --print shows the line" says "^$line\$" \
            client filer:/srv/images /mnt/images --print || true
        check "$family: --print shows what would be run" says '^mount -- /mnt/images$' \
            client filer:/srv/images /mnt/images --print || true
        check "$family: a line is written" says '^systemctl enable --now nfs-client.target remote-fs' \
            client filer:/srv/images /mnt/images || true
        check "$family: after what was there" diff "$tree/etc/fstab" - \
            <<<"# a table"$'\n'"UUID=1 / ext4 defaults 0 1"$'\n'"$line" || true
        check "$family: mode and owner are kept" \
            test "$(stat -c %a:%u:%g "$tree/etc/fstab")" = 640:12:34 || true
        check "$family: the directory is made" test -d "$tree/mnt/images" || true
        check "$family: no other file is left" test "$(ls -A "$tree/etc")" = $'fstab\nos-release' || true
        check "$family: once more changes nothing" untouched says '/etc/fstab:3: there already' \
            client filer:/srv/images/ //mnt/images/ || true
        check "$family: … nor as a unit" untouched says '/etc/fstab:3: there already' \
            client filer:/srv/images /mnt/images --systemd || true
        check "$family: another export there is refused" refuses "/etc/fstab:3: $line" \
            client filer:/srv/others /mnt/images || true
        check "$family: … also as a unit" refuses "^  filer:/srv/others /mnt/images nfs" \
            client filer:/srv/others /mnt/images --systemd || true
        check "$family: NFSv3 there is refused" refuses 'already' \
            client filer:/srv/images /mnt/images --nfsvers 3 || true
        check "$family: the same export elsewhere is named" says 'fstab:3 mounts filer:/srv/images at /mnt/im' \
            client filer:/srv/images /mnt/elsewhere || true
    done
    new_tree rhel
    check "a tree without an fstab" client filer:/srv/images /mnt/images || true
    check "… gets one" diff "$tree/etc/fstab" - <<<"$line" || true
    check "… that all may read" test "$(stat -c %a "$tree/etc/fstab")" = 644 || true
    check "NFSv3 needs rpcbind" says '^systemctl enable --now rpcbind.socket$' \
        client filer:/srv/images /mnt/three --nfsvers 3 || true
    check "… and is asked for" has_line "$tree/etc/fstab" \
        "filer:/srv/images /mnt/three nfs ${mounted/4.2/3} 0 0" || true

    new_tree debian
    mkdir "$tree/etc/real" "$tree/elsewhere"
    ln -s /etc/real/table "$tree/etc/fstab"
    ln -s ../../elsewhere/fstab "$tree/etc/real/table"
    printf '# a table\n' >"$tree/elsewhere/fstab"
    check "an fstab behind two symbolic links" client filer:/srv/images /mnt/images || true
    check "… is written where it is" has_line "$tree/elsewhere/fstab" "$line" || true
    check "… and stays behind them" test "$(readlink "$tree/etc/fstab")" = /etc/real/table || true
    check "… nothing outside the tree" test ! -e /etc/real || true

    new_tree debian
    mkdir -p "$tree/mnt/full/something" "$tree/mnt/other"
    ln -s other "$tree/mnt/link"
    check "refuses a directory with something in it" refuses 'is not empty' \
        client filer:/srv/images /mnt/full || true
    check "refuses a symbolic link" refuses 'leads to: /mnt/other' client filer:/srv/images /mnt/link ||
        true

    # A disk that is full, or a rename that is refused.
    printf '# a table' >"$tree/etc/fstab"
    mkdir "$work/broken" "$tree/mnt/images"
    printf '#!/bin/sh\nexit 1\n' >"$work/broken/mv"
    chmod +x "$work/broken/mv"
    before=$(state | grep etc/fstab)
    check "a write that fails is reported" refused 1 'cannot write .*/etc/fstab; it is as it was' \
        env "PATH=$work/broken:$PATH" "$setup" client --root "$tree" filer:/srv/images /mnt/images || true
    check "… and leaves fstab as it was" test "$(state | grep etc/fstab)" = "$before" || true
    check "… and no other file" test "$(ls -A "$tree/etc")" = $'fstab\nos-release' || true
}

test_existing_mounts() {
    local line verdict text
    local -a entries=(
        "same filer:/srv/im\\040ages /mnt/im\\040ages nfs $mounted 0 0"
        "same filer:/srv/im\\040ages/ /mnt/im\\040ages/ nfs4 rw,nodev,nosuid,vers=4.2"
        "differs filer:/srv/im\\040ages /mnt/im\\040ages nfs defaults 0 0"
        "differs filer:/srv/im\\040ages /mnt/im\\040ages nfs $mounted,soft 0 0"
        "differs filer:/srv/im\\040ages /mnt/im\\040ages nfs $mounted,noauto 0 0"
        "differs filer:/srv/im\\040ages /mnt/im\\040ages ext4 $mounted 0 0"
        "differs filer2:/srv/im\\040ages /mnt/im\\040ages nfs $mounted 0 0"
        "differs /dev/sda1 /mnt/im\\040ages ext4"
        "other filer:/srv/im\\040ages /mnt/im nfs $mounted 0 0"
        "other #filer:/srv/im\\040ages /mnt/im\\040ages nfs soft 0 0"
    )
    for line in "${entries[@]}"; do
        read -r verdict text <<<"$line"
        new_tree debian
        mkdir -p "$tree/mnt/im ages"
        printf '\n  %s' "$text" >"$tree/etc/fstab"
        case $verdict in
        same) check "same: $text" untouched says 'fstab:2: there already' \
            client "filer:/srv/im ages" "/mnt/im ages" || true ;;
        differs) check "differs: $text" refuses 'fstab:2: ' \
            client "filer:/srv/im ages" "/mnt/im ages" || true ;;
        other) check "another's: $text" says ': written$' \
            client "filer:/srv/im ages" "/mnt/im ages" || true ;;
        esac
    done
}

test_unit() {
    local name='mnt-im\x20ages.mount' file dir
    new_tree rhel
    file="$tree/etc/systemd/system/$name"
    check "unit: --print changes nothing" untouched \
        client "filer:/srv/im ages" "/mnt/im ages" --systemd --print || true
    check "unit: is written" client "filer:/srv/im ages" "/mnt/im ages" --systemd || true
    check "unit: What" has_line "$file" "What=filer:/srv/im ages" || true
    check "unit: Where" has_line "$file" "Where=/mnt/im ages" || true
    check "unit: Type" has_line "$file" "Type=nfs" || true
    check "unit: Options" has_line "$file" "Options=$mounted" || true
    check "unit: fstab is not made" test ! -e "$tree/etc/fstab" || true
    check "unit: once more changes nothing" untouched says 'there already' \
        client "filer:/srv/im ages" "/mnt/im ages" --systemd || true
    check "unit: … nor as a line of fstab" untouched says "system/mnt-im.*mount: there already" \
        client "filer:/srv/im ages" "/mnt/im ages" || true
    check "unit: is what is enabled" untouched says '^systemctl enable --now mnt-im.+20ages.mount' \
        client "filer:/srv/im ages" "/mnt/im ages" || true
    check "unit: another export there is refused" refuses 'What=filer:/srv/im ages' \
        client "filer:/srv/others" "/mnt/im ages" || true
    sed -i 's/hard,/soft,/' "$file"
    check "unit: other options are refused" refuses 'soft' \
        client "filer:/srv/im ages" "/mnt/im ages" --systemd || true
    for dir in run/systemd/system usr/lib/systemd/system; do
        new_tree rhel
        mkdir -p "$tree/$dir"
        printf '[Mount]\nWhat=/dev/sdb\nWhere=/mnt/a\n' >"$tree/$dir/mnt-a.mount"
        check "unit: another's in $dir is refused" refuses "/$dir/mnt-a.mount: What=/dev/sdb" \
            client filer:/srv /mnt/a --systemd || true
    done
    new_tree rhel
    mkdir -p "$tree/etc/systemd/system"
    ln -s /dev/null "$tree/etc/systemd/system/mnt-a.mount"
    check "unit: a masked one is refused" refuses 'masked' client filer:/srv /mnt/a || true
}

# --- those who will read it

readonly odd_paths=(/mnt/plain '/mnt/a-b/c d' /mnt/.hidden/.x '/.dot' '/mnt/50%/%i%%' '/mnt/back\slash' '/mnt/ü'
    '/mnt/a:b_c.d,e' '/mnt/#hash "q"' "/mnt/it's")

test_systemd() {
    local path unit units=()
    if [[ ! $(command -v systemd-analyze) ]]; then
        skip "systemd reads the units" "systemd-analyze is not here"
        return
    fi
    new_tree debian
    for path in "${odd_paths[@]}"; do
        unit=$(systemd-escape --path --suffix=mount "$path")
        check "unit: $path" client "[fd00::1]:/srv$path" "$path" --systemd || true
        check "unit: … is $unit" test -f "$tree/etc/systemd/system/$unit" || true
        check "unit: … and is found again" untouched says 'there already' \
            client "[fd00::1]:/srv$path" "$path" --systemd || true
        # A colon is something else to systemd-analyze.
        [[ $unit == *:* ]] || units+=("$tree/etc/systemd/system/$unit")
    done
    check "systemd has nothing to say against these units" verifies "${units[@]}" || true
    unit=$tree/etc/systemd/system/mnt-x.mount
    printf '[Mount]\nWhat=a:/b\nWhere=/mnt/y\nType=nfs\n' >"$unit"
    check "… which it would have, if there were" refused 1 "match unit name" verifies "$unit" || true
}

verifies() {
    local output
    output=$(systemd-analyze verify "$@" 2>&1) || {
        printf '%s\n' "$output"
        return 1
    }
    [[ $output != *.mount* ]] || {
        printf 'warned: %s\n' "$output"
        return 1
    }
}

# What systemd and mount(8) make of each line of fstab.
test_fstab_readers() {
    local path generator='' dir
    for dir in /usr/lib /lib; do
        [[ ! -x $dir/systemd/system-generators/systemd-fstab-generator ]] ||
            generator=$dir/systemd/system-generators/systemd-fstab-generator
    done
    new_tree debian
    for path in "${odd_paths[@]}"; do
        check "fstab: $path" client "filer:/srv$path" "$work$path" || true
        check "fstab: … is found again" untouched says 'there already' \
            client "filer:/srv$path" "$work$path" || true
        check "fstab: … findmnt reads it" findmnt_reads "$path" || true
        mkdir -p "$work$path"
    done
    check "fstab: findmnt --verify has nothing to say" says '(no|0 parse) errors' \
        findmnt --verify --tab-file "$tree/etc/fstab" || true
    if [[ -z $generator ]]; then
        skip "fstab: systemd makes the mounts" "systemd-fstab-generator is not here"
        return
    fi
    mkdir "$work/generated"
    check "fstab: systemd reads it" env "SYSTEMD_FSTAB=$tree/etc/fstab" "$generator" \
        "$work/generated" "$work/generated" "$work/generated" || true
    for path in "${odd_paths[@]}"; do
        dir=$work/generated/$(systemd-escape --path --suffix=mount "$work$path")
        check "fstab: … $path" has_line "$dir" "Where=${work//%/%%}${path//%/%%}" || true
        check "fstab: … its source" has_line "$dir" "What=filer:/srv${path//%/%%}" || true
    done
}

# findmnt prints odd characters in hexadecimal.
findmnt_reads() {
    local text
    text=$(findmnt --tab-file "$tree/etc/fstab" -n -P -o SOURCE,FSTYPE,OPTIONS --target "$work$1")
    printf '%s\n' "$text"
    [[ $(printf '%b' "$text") == "SOURCE=\"filer:/srv$1\" FSTYPE=\"nfs\" OPTIONS=\"$mounted\"" ]]
}

# --- on a system

# Makes $tree a system to chroot into: this one's programs, but its own /sbin, and in /fake what must
# not run here. They note what they are asked for in /asked.
new_system() {
    local name
    new_tree debian "$disk"
    rm -r "${tree:?}/usr"
    mkdir -p "$tree"/{usr,proc,dev,run/systemd/system,fake,sbin,mnt}
    cp -d /bin /lib /lib64 "$tree/"
    printf 'ID=debian\n' >"$tree/os-release"
    ln -sf /os-release "$tree/etc/os-release"
    for name in systemctl exportfs; do
        printf '#!/bin/sh\necho "%s $*" >>/asked\n! grep -qsx "%s" /broken\n' "$name" "$name" \
            >"$tree/fake/$name"
    done
    # This one mounts: something that says it is from where fstab says.
    printf '#!/bin/sh\necho "mount $*" >>/asked\n' >"$tree/fake/mount"
    # shellcheck disable=SC2016 # for that script
    printf '/usr/bin/mount -t tmpfs "$(cut -d" " -f1 /etc/fstab)" "$2"\n' >>"$tree/fake/mount"
    cp "$tree/fake/exportfs" "$tree/sbin/exportfs"
    cp "$tree/fake/exportfs" "$tree/sbin/mount.nfs"
    chmod +x "$tree"/{fake,sbin}/*
    cp "$setup" "$tree/share-setup"
    chmod +x "$tree/share-setup"
}

# in_system SCRIPT: in a shell of that system, whose mounts end with it.
in_system() {
    # shellcheck disable=SC2016 # for that shell
    unshare --mount --propagation private bash -ec '
        mount --bind /usr "$1/usr"
        mount --bind /proc "$1/proc"
        mount --bind /dev "$1/dev"
        exec chroot "$1" /usr/bin/env -i PATH=/fake:/usr/bin:/bin bash -c "$2"' - "$tree" "$1"
}

asked() { diff "$tree/asked" -; }

test_system() {
    new_system
    check "system: the server is set up" in_system '/share-setup server /srv/images --clients 10.0.0.0/24' ||
        true
    check "system: … and its services" asked <<'ASKED' || true
systemctl enable --now rpcbind.socket nfs-server.service
exportfs -ra
ASKED
    check "system: … its entry is there" test -s "$tree/etc/exports.d/godwit-srv-images.exports" || true
    echo exportfs >"$tree/broken"
    check "system: a command that fails is named" refused 1 'exportfs -ra.* failed' \
        in_system '/share-setup server /srv/images --clients 10.0.0.0/24' || true
    rm "$tree/broken"
    rm "$tree/asked"
    check "system: --print runs nothing" says '^# would run:' \
        in_system '/share-setup server /srv/images --clients 10.0.0.0/24 --print' || true
    check "system: … nothing" test ! -e "$tree/asked" || true
    check "system: the note on a directory that is no filesystem" says 'is no filesystem of its own' \
        in_system '/share-setup server /srv/images --clients 10.0.0.0/24 --print' || true
    check "system: a share in memory is refused" refused 2 'is on tmpfs' in_system \
        '/usr/bin/mount -t tmpfs t /mnt; /share-setup server /mnt --clients 10.0.0.0/24' || true

    new_system
    check "system: a client is set up, and mounts once" in_system '
        /share-setup client filer:/srv/images /mnt/images && echo >/mnt/images/guest.img &&
        /share-setup client filer:/srv/images /mnt/images' || true
    check "system: … with its services" asked <<'ASKED' || true
systemctl daemon-reload
mount -- /mnt/images
systemctl enable --now nfs-client.target remote-fs.target
systemctl daemon-reload
systemctl enable --now nfs-client.target remote-fs.target
ASKED
    check "system: what is mounted there already is refused" refused 2 'elsewhere:/x is mounted at' \
        in_system 'mkdir /mnt/b; /usr/bin/mount -t tmpfs elsewhere:/x /mnt/b
            /share-setup client filer:/srv/images /mnt/b' || true
    rm "$tree/asked"
    check "system: a client with a unit" \
        in_system '/share-setup client filer:/srv/images /mnt/c-d --systemd' || true
    check "system: … which is enabled" asked <<'ASKED' || true
systemctl daemon-reload
systemctl enable --now mnt-c\x2dd.mount
systemctl enable --now nfs-client.target remote-fs.target
ASKED

    new_system
    rm "$tree"/sbin/*
    check "system: without nfs-kernel-server nothing is done" \
        refuses '^  apt-get install nfs-kernel-server$' \
        in_system '/share-setup server /srv/images --clients 10.0.0.0/24' || true
    check "system: without nfs-common as well" refused 2 '^  apt-get install nfs-common$' \
        in_system '[ ! -e /usr/sbin/mount.nfs ] || /usr/bin/mount --bind /os-release /usr/sbin/mount.nfs
            /share-setup client filer:/srv/images /mnt/images' || true
    check "system: … nothing" test ! -e "$tree/etc/fstab" -a ! -e "$tree/mnt/images" || true

    new_system
    rmdir "$tree/run/systemd/system"
    check "system: without systemd the commands are printed" says '^# no systemd runs here' \
        in_system '/share-setup client filer:/srv/images /mnt/images' || true
    check "system: … not run" test ! -e "$tree/asked" || true
    check "system: … and the entry is there" test -s "$tree/etc/fstab" || true
}

# Two at once: both lines are there.
test_concurrent() {
    local i pids=()
    new_tree debian
    for i in 1 2 3 4 5; do
        client filer:/srv/images "/mnt/$i" >/dev/null 2>&1 &
        pids+=($!)
    done
    wait "${pids[@]}"
    check "five at once: five lines" test "$(grep -c '^filer:' "$tree/etc/fstab")" = 5 || true
}

readonly all_tests=(usage family cidr server existing_exports exportfs client existing_mounts unit
    systemd fstab_readers system concurrent)
file_turn=0
(($#)) || set -- "${all_tests[@]}"
for test in "$@"; do
    "test_$test"
done
tap_end

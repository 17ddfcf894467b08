#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# godwit check in the lab, which is up with QEMU 10: test-check.sh GODWIT LAB. Real libvirts, a real
# ssh and a real NFS server; each fault is made for real, and found.
#
# Most faults are in domains that are defined and never started: that these do not run is refused,
# and hides nothing else.

set -uo pipefail

here=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
readonly here
godwit=$(realpath -- "${1:?the godwit to test}")
lab=$(realpath -- "${2:?tools/lab}")
readonly godwit lab
# shellcheck source-path=SCRIPTDIR source=tap.bash
. "$here/tap.bash"

scratch=$(mktemp -d /var/tmp/godwit-check-XXXXXX)
readonly scratch there=qemu+ssh://root@b/system
on() { "$lab" exec "$@"; }
virsh_on() { on "$1" virsh -q "${@:2}"; }

clean_up() {
    local d
    for d in fine bad file old; do
        virsh_on a destroy "$d"
        virsh_on a undefine --snapshots-metadata "$d"
        virsh_on b undefine "$d"
    done
    virsh_on b undefine taken
    virsh_on a pool-destroy images
    virsh_on a pool-undefine images
    virsh_on b pool-destroy images
    b_is 10.77.0.2
    on b mount --make-rprivate / && on b umount "$scratch/other"
    "$lab" start b
    rm -rf -- "$scratch"
} >/dev/null 2>&1
trap clean_up EXIT
cd -- "$scratch" || exit 1

# domain NAME MIB DEVICES [MORE]: its XML.
domain() {
    cat <<-XML
	<domain type='qemu'>
	  <name>$1</name><memory unit='MiB'>$2</memory><vcpu>1</vcpu>
	  <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
	  ${4:-<cpu mode='custom' match='exact'><model>qemu64</model></cpu>}
	  <devices>$3</devices>
	</domain>
	XML
}

nfs_disk() {
    cat <<-XML
	<disk type='network' device='disk'><driver name='qemu' type='raw' cache='none'/>
	  <source protocol='nfs' name='$1'><host name='nfs'/><identity user='0' group='0'/></source>
	  <target dev='${2:-vda}' bus='virtio'/></disk>
	XML
}

# file_disk PATH TARGET CACHE [TYPE]
file_disk() {
    printf "<disk type='file' device='disk'><driver name='qemu' type='%s' cache='%s'/>" "${4:-raw}" "$3"
    printf "<source file='%s'/><target dev='%s' bus='virtio'/></disk>" "$1" "$2"
}

# finds NAME VERDICT PATTERN FILE: one test: such a finding is in what check has said.
finds() { check "$1" shows "^$2 +$3" "$4"; }
shows() { grep -qE -- "$1" "$2" || { echo "no \"$1\" in: $(<"$2")"; return 1; }; }
same() { [[ $1 == "$2" ]] || { echo "'$1' is not '$2'"; return 1; }; }
fixes() { check "$1" shows "^ +fix: $2" "$3"; }

# run FILE CODE ARGUMENT...: godwit check on host a.
run() {
    local file=$1 wanted=$2 status=0
    shift 2
    on a "$godwit" check "$@" >"$file" 2>&1 || status=$?
    check "check $*: exit code $wanted" same "$status" "$wanted" || cat "$file"
}

# All that a check could leave behind.
traces() {
    local h
    on nfs find /export -mindepth 1 -printf '%p %s %i\n' | sort
    find "$scratch" -name '.godwit-check*'
    for h in a b; do
        virsh_on "$h" list --all
        virsh_on "$h" pool-list --all
        virsh_on "$h" net-list --all
    done
    virsh_on a dumpxml fine
}

make_fine() {
    on a qemu-img create -q -f raw nfs://nfs/export/check.img 32M
    on nfs mkdir -p -m 1777 /export/open
    domain fine 32 "$(nfs_disk /export/check.img)
        <interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>" >fine.xml
    check "a domain with its disk on the share" virsh_on a create "$scratch/fine.xml"
}

test_fine() {
    run fine.out 0 fine "$there"
    check "nothing is refused" shows ' 0 warnings, 0 refused, 0 skipped$' fine.out
    finds "ssh" ok 'destination: ssh: ssh to root@b works' fine.out
    finds "QEMU's NFS driver on b" ok 'share nfs://nfs/export/: destination: one share: .*marker' fine.out
    finds "the server is one" ok 'disk vda: shared storage: nfs is 10.77.0.3 on both' fine.out
    finds "the QEMU user may write" ok 'share nfs://nfs/export/: writable by QEMU: user 0:0' fine.out
    finds "capabilities" ok 'migration capabilities: both installed QEMUs have .*multifd' fine.out
    finds "the address" ok 'migration address: the stream goes to b, which on a resolves to 10.77.0.2' fine.out
    finds "ports" ok 'migration ports: a can reach b, ports 49152 and 49215' fine.out
    finds "clocks" ok 'clocks: b is [0-9.]+ s' fine.out
    finds "CPU" ok 'CPU: QEMU on b can be qemu64' fine.out
    finds "machine" ok 'machine type: .* knows pc-q35-' fine.out
    finds "memory" ok 'memory: the guest has 32' fine.out
    finds "bridge" ok 'bridge br0: it exists on b' fine.out
    run one.out 0 fine
    check "one host alone: nothing of the other" same "$(grep -c destination one.out)" 0
    run fine.json 0 --quick --json fine "$there"
    check "--json is one object" jq -e '.schema == 2 and .result == "ok" and
        (.findings | length > 10 and all(has("check") and has("verdict") and has("sentence") and has("fix")))' \
        fine.json
    check "doc/json.md names each key of it" documented fine.json "godwit check --json"
}

test_names() {
    run none.out 2 nosuch "$there"
    finds "no such domain" refuse "domain: .*no domain 'nosuch'" none.out
    run self.out 2 --quick fine qemu:///system
    finds "the same host" refuse 'hosts: source and destination are the same host, a' self.out
    domain fine 32 '' >taken.xml
    virsh_on b define "$scratch/taken.xml"
    run taken.out 2 --quick fine "$there"
    finds "the name is taken" refuse "domain: name on the destination: 'fine' is taken on b" taken.out
    fixes "how to fix it" "virsh -c qemu.ssh://root@b/system domrename fine fine-old" taken.out
    run dname.out 0 --quick --dname other fine "$there"
    virsh_on b undefine fine
    domain taken 32 '' | sed "s|<name>|<uuid>$(virsh_on a domuuid fine | tr -d '\n')</uuid>&|" >uuid.xml
    virsh_on b define "$scratch/uuid.xml"
    run uuid.out 2 --quick fine "$there"
    finds "the UUID is taken" refuse "domain: UUID on the destination: .* by a domain with another name, 'taken'" uuid.out
    virsh_on b undefine taken
}

# One domain with many faults: all of them are found.
# b_is ADDRESS|- : what the name b is on host a; -: nothing.
b_is() { on a sh -c "grep -v ' b\$' /etc/hosts >/etc/hosts.new; [ '$1' = - ] || echo '$1 b' >>/etc/hosts.new
    cat /etc/hosts.new >/etc/hosts; rm /etc/hosts.new"; }

# The destination is given by its address, as it is known here; what counts is what its name is on a.
test_address() {
    local by_address=qemu+ssh://root@10.77.0.2/system
    b_is 127.0.1.1
    run self.out 2 --quick fine "$by_address"
    finds "the destination's name is the source itself" refuse \
        'migration address: on a the name b is 127.0.1.1, which is a itself' self.out
    fixes "how to say it" '.* --migrateuri tcp://10.77.0.2' self.out
    run uri.out 0 --migrateuri tcp://10.77.0.2:49200 fine "$by_address"
    finds "--migrateuri, with its port" ok 'migration ports: a can reach 10.77.0.2, port 49200$' uri.out
    b_is 10.77.0.1
    run stale.out 2 --quick fine "$by_address"
    finds "it is the source's own address" refuse 'migration address: .* b is 10.77.0.1, which is a itself' stale.out
    b_is -
    run none.out 0 fine "$by_address"
    finds "a name that is unknown there" ok 'migration address: the stream goes to 10.77.0.2' none.out
    run both.out 2 --migrateuri tcp://nosuchhost fine "$by_address"
    finds "none that is known" refuse "migration address: a does not know the destination's name, nosuchhost$" both.out
    run bad.out 2 --migrateuri b:1 fine "$by_address"
    check "--migrateuri must be a URI" shows "'b:1' is not tcp://HOST" bad.out
    b_is 10.77.0.2
}

test_bad() {
    qemu-img create -q -f qcow2 bad.qcow2 16M
    truncate -s 16M bad.img
    printf '<pool type="dir"><name>images</name><target><path>%s</path></target></pool>' "$scratch" >pool.xml
    virsh_on a pool-define "$scratch/pool.xml"
    virsh_on a pool-start images
    domain bad $((1 << 30)) "
        $(file_disk "$scratch/bad.qcow2" vda none qcow2) $(file_disk "$scratch/bad.img" vdb writeback)
        <disk type='volume' device='disk'><source pool='images' volume='bad.img'/>
          <target dev='vdc' bus='virtio'/></disk>
        <disk type='file' device='disk'><source file='$scratch/bad.img'/>
          <target dev='vdd' bus='virtio'/><transient/></disk>
        <hostdev mode='subsystem' type='pci' managed='yes'>
          <source><address domain='0' bus='0' slot='0x1f' function='0'/></source></hostdev>
        <interface type='bridge'><source bridge='nobridge'/></interface>
        <interface type='network'><source network='nonet'/></interface>" \
        "<cpu mode='custom' match='exact'><model fallback='forbid'>EPYC-Milan</model></cpu>" >bad.xml
    virsh_on a define "$scratch/bad.xml"
    # of its metadata alone: with such disks none could be made
    printf '<domainsnapshot><name>s</name><state>shutoff</state><creationTime>1</creationTime>%s</domainsnapshot>' \
        "$(virsh_on a dumpxml --inactive bad)" >snapshot.xml
    virsh_on a snapshot-create bad --redefine "$scratch/snapshot.xml"
    run bad.out 2 bad "$there"
    finds "a domain that does not run" refuse 'domain: state: bad is not running' bad.out
    finds "a local file" refuse "disk vda: libvirt's rule: libvirt calls it unsafe.* not shared" bad.out
    fixes "can be relocated" "godwit relocate $scratch/bad.qcow2 nfs://" bad.out
    finds "that is one file all the same" ok 'disk vda: shared storage: .* one file .*marker.* temporary pool' bad.out
    finds "cache=writeback" warn 'disk vdb: cache: cache=writeback' bad.out
    fixes "which virt-xml changes" 'virt-xml -c qemu:///system bad --edit target=vdb --disk cache=none' bad.out
    finds "a volume of a pool" refuse "disk vdc: libvirt's rule: libvirt calls it unsafe" bad.out
    finds "a transient disk" refuse 'transient disk vdd: ' bad.out
    finds "a host device" refuse 'host device ' bad.out
    finds "a snapshot" refuse 'snapshots: the domain has 1' bad.out
    finds "no such bridge" refuse 'bridge nobridge: there is no bridge nobridge on b' bad.out
    finds "no such network" refuse 'network nonet: it does not exist on b' bad.out
    finds "no such pool" refuse 'pool images: it does not exist on b' bad.out
    finds "too much memory" refuse 'memory: the guest has .* b can free' bad.out
    finds "another CPU" refuse "CPU: QEMU's CPU on b is not enough for EPYC-Milan: it lacks .*clzero" bad.out
    run unsafe.out 2 --quick --unsafe bad "$there"
    finds "--unsafe: a warning" warn "disk vda: libvirt's rule: libvirt calls it unsafe" unsafe.out
}

# b has another directory under the same name, with a file of the same name and size.
test_another_file() {
    mkdir other
    truncate -s 16M other/a.img
    on b mount -t tmpfs none "$scratch/other"
    on b truncate -s 16M "$scratch/other/a.img"
    "$lab" kill b && "$lab" start b
    domain file 32 "$(file_disk "$scratch/other/a.img" vda none)" >file.xml
    virsh_on a define "$scratch/file.xml"
    run file.out 2 file "$there"
    finds "the same name and size is not the same file" \
        refuse 'disk vda: shared storage: .* is a different file on b: a marker' file.out
    on b rm "$scratch/other/a.img"
    run gone.out 2 file "$there"
    finds "a file that is not there" refuse 'disk vda: shared storage: .* is not on b' gone.out
    run quick.out 2 --quick file "$there"
    check "a quick check proves nothing, and says so" shows '^warn +disk vda: shared storage' quick.out
}

# b's QEMU is 7.2, which knows no such machine.
test_machine() {
    local modules
    modules=$(echo /usr/lib/*-linux-gnu/qemu)
    if [[ $(qemu-system-x86_64 --version) != *"version 7.2"* ]]; then
        skip "a machine that b does not know" "this Debian's QEMU is not 7.2"
        return
    fi
    cp -r "$(command -v qemu-system-x86_64)" "$modules" .
    printf '#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 "$@"\n' >emulator-a
    printf '#!/bin/sh\nQEMU_MODULE_DIR=%s/qemu exec %s/qemu-system-x86_64 "$@"\n' "$scratch" "$scratch" >emulator-b
    for host in a b; do
        chmod +x "emulator-$host"
        on "$host" cp "$scratch/emulator-$host" /run/godwit-check-qemu
    done
    domain old 32 "<emulator>/run/godwit-check-qemu</emulator>" | sed 's/q35/pc-q35-10.0/' >old.xml
    virsh_on a define "$scratch/old.xml"
    run old.out 2 old "$there"
    finds "a machine that b does not know" refuse "machine type: b cannot run .*pc-q35-10.0.* not supported" old.out
    finds "capabilities that only one has" warn 'migration capabilities: .*only a has .*mapped-ram.* only b has .*compress' old.out
    on b rm /run/godwit-check-qemu
    run emulator.out 2 --quick old "$there"
    finds "an emulator that b does not have" refuse "machine type: b cannot run .*/run/godwit-check-qemu" emulator.out
}

test_no_way_there() {
    run ssh.out 2 --quick fine qemu+ssh://nobody@b/system
    finds "ssh that does not work" refuse 'destination: ssh: .*Permission denied' ssh.out
    fixes "a key is what helps" 'ssh-copy-id -p 22 nobody@b' ssh.out
    on a sh -c "cp /etc/ssh/ssh_known_hosts /tmp/known; ssh-keygen -q -t ed25519 -N '' -f /tmp/other
        echo b \$(cut -d' ' -f1,2 /tmp/other.pub) >/etc/ssh/ssh_known_hosts"
    run key.out 2 --quick fine "$there"
    on a sh -c 'cat /tmp/known >/etc/ssh/ssh_known_hosts; rm /tmp/known /tmp/other /tmp/other.pub'
    finds "a host key that has changed" refuse 'destination: ssh: .*Host key for b has changed' key.out
    fixes "the old one is to go, once that was looked into" 'ssh-keygen -f /etc/ssh/ssh_known_hosts -R b' key.out
    finds "the source is checked all the same" ok 'devices: ' ssh.out
    run name.out 2 --quick fine qemu+ssh://root@nosuchhost/system
    finds "a host that is not there" refuse 'destination: ssh: .*nosuchhost' name.out
    "$lab" kill b
    run dead.out 2 --quick fine "$there"
    finds "libvirtd is down" refuse "destination: libvirt: no libvirt answers at qemu.ssh://root@b/system" dead.out
    fixes "and is started" "ssh root@b 'systemctl start libvirtd'" dead.out
    "$lab" start b
    run usage.out 2 --quick fine xen:///system
    finds "not QEMU's libvirt" refuse 'destination: libvirt: .*not a URI' usage.out
}

test_shares() {
    run share.out 0 --pool images nfs://nfs/export/ "$there"
    finds "a pool that can be moved" ok 'pool images: relocate --pool: it can be moved: ' share.out
    finds "a pool, and a share that is fit" ok 'pool images: type dir' share.out
    finds "where the pool is mounted" ok 'pool: mount options: ' share.out
    finds "sync or async" '(ok|warn)' 'share .*: sync or async: a client cannot see it; a durable write' share.out
    finds "rsize and wsize" ok 'share .*: rsize, wsize: the server reads' share.out
    run squash.out 2 --pool images nfs://nfs/squash/ "$there"
    finds "root_squash" refuse 'share .*writable by QEMU: user 0:0 cannot make a file: root is squashed' squash.out
    finds "seen from b, too" refuse "share .*: destination: QEMU's NFS driver there cannot write" squash.out
    run open.out 2 --pool images nfs://nfs/squash/open/
    finds "root_squash, where all may write" refuse 'share .*root_squash: what user 0:0 makes' open.out
    run readonly.out 2 --pool images nfs://nfs/readonly/
    finds "read-only" refuse 'share .*the export is read-only' readonly.out
    run absent.out 2 --pool nosuch nfs://nfs/nosuch/
    finds "no such share" refuse 'share nfs://nfs/nosuch' absent.out
    finds "no such pool" refuse "pool nosuch: relocate --pool: there is no pool 'nosuch'" absent.out
    run nourl.out 2 --pool images /export
    test_full
}

# What relocate --pool would refuse, in its words, of a pool by its name or UUID: a domain that a test
# before has left there, with a snapshot.
test_pools() {
    local uuid why
    uuid=$(virsh_on a pool-uuid images)
    why=$(on a "$godwit" relocate --pool images nfs://nfs/export/ --target nfs --dry-run 2>&1 |
        sed -n 's/^godwit: error: //p')
    check "relocate --pool refuses a domain" test -n "$why"
    run pool.out 2 --pool images nfs://nfs/export/ --target nfs
    finds "check does, in the same words" refuse "pool images: relocate --pool: $why" pool.out
    run pool.out 2 --pool "$uuid" nfs://nfs/export/ --target nfs
    finds "of a pool by its UUID, too" refuse "pool $uuid: relocate --pool: $why" pool.out
    finds "which is found" ok 'pool images: type dir' pool.out
    virsh_on a undefine bad --snapshots-metadata
}

# Links of one file need as much room as so many files.
test_full() {
    local free i
    free=$(($(on nfs stat -f -c '%a * %S' /export)))
    if ! fallocate -l 4G big.img; then
        skip "a share that is too small" "no 4 GiB are free"
        return
    fi
    for ((i = 0; i <= free >> 32; i++)); do
        ln big.img "big-$i.img"
    done
    virsh_on a pool-refresh images
    run full.out 2 --pool images nfs://nfs/export/
    finds "a share that is too small" refuse 'share .*: free space: .* are needed' full.out
    rm big*.img
}

make_fine
before=$(traces)
test_fine
test_names
test_address
test_no_way_there
check "nothing was touched" same "$(traces)" "$before"
test_bad
test_pools
before=$(traces)
test_shares
test_machine
virsh_on a undefine old
check "nothing was touched" same "$(traces)" "$before"
test_another_file
tap_end

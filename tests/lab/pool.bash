# shellcheck shell=bash disable=SC2154 # here, of the script; scratch and others, of relocate.bash
# SPDX-License-Identifier: Apache-2.0
#
# What the tests of godwit relocate --pool have in common: a pool of a raw disk, a qcow2 chain, an
# ISO image and a volume, on host a, and three domains that use it.

# shellcheck source-path=SCRIPTDIR source=relocate.bash
. "$here/relocate.bash"

readonly pool=$scratch/pool state_dir=$scratch/state
readonly domains=(g1 g2 g3)

virsh_a() { "$lab" exec a virsh -q "$@"; }
move() { relocate --state-dir "$state_dir" --pool images "$@"; }

export_dir=$("$lab" status --json | jq -r .state)/nfs/export
readonly export_dir

# new_share NAME: a directory on the share; the mount, a bind mount in the place of one of NFS, is of it.
new_share() {
    on_server mkdir -p "/export/$1"
    "$lab" exec a umount "$scratch/mount" 2>/dev/null
    "$lab" exec a mount --bind "$export_dir/$1" "$scratch/mount"
}

refuses() {
    local name=$1 pattern=$2
    shift 2
    check "refused: $name" refused 2 "$pattern" "$@"
}

pool_clean_up() {
    local domain
    for domain in "${domains[@]}" extra; do
        virsh_a destroy "$domain"
        virsh_a undefine "$domain" --managed-save --snapshots-metadata
    done >/dev/null 2>&1
    virsh_a pool-destroy images >/dev/null 2>&1
    virsh_a pool-undefine images >/dev/null 2>&1
    relocate_clean_up
}
trap pool_clean_up EXIT

# A disk that boots: it says so on the serial port, and then waits for the ACPI power button, at which
# it turns the machine off. In 16 bit: print; PM1 enable (0x602) = button; hlt until PM1 status (0x600)
# has it; PM1 control (0x604) = S5.
make_bootable() {
    {
        printf '\x31\xc0\x8e\xd8\xbe\x2e\x7c\xac\x08\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5'
        printf '\xba\x02\x06\xb8\x00\x01\xef\xfb\xf4\xba\x00\x06\xed\xf6\xc4\x01\x74\xf6'
        printf '\xba\x04\x06\xb8\x00\x20\xef\xf4\xeb\xfd'
        printf 'boots from its disk\n\0'
    } >boot
    truncate -s 510 boot
    printf '\x55\xaa' >>boot
    dd if=boot of="$1" conv=notrunc status=none
}

# define NAME DEVICES [MORE]: a domain, of which virsh gives out a definition in libvirt's own form.
define() {
    cat >"$1.xml" <<XML
<domain type='qemu'>
  <name>$1</name>
  <memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <features><acpi/></features>
  ${3:-}
  <devices>
    $2
    <serial type='file'><source path='$scratch/$1.serial'/></serial>
  </devices>
</domain>
XML
    virsh_a define "$1.xml" >/dev/null
}

# The fourth one is another each time.
define_extra() {
    virsh_a undefine extra >/dev/null 2>&1
    define extra "$@"
}

disk() { printf "<disk type='file'><driver name='qemu' type='%s'/><source file='%s'/><target dev='%s' bus='virtio'/></disk>" "$@"; }

# What only a definition with its secrets has, and what libvirt gives out with other quotes than its own.
readonly secret="<graphics type='vnc' autoport='yes' passwd='secret'/>"
readonly metadata="<metadata><x:y xmlns:x=\"urn:x\" z=\"$pool/raw.img\">it's</x:y></metadata>"

make_pool() {
    mkdir -p "$pool" "$scratch/mount"
    head -c 6000000 /dev/urandom >"$pool/raw.img"
    truncate -s 20M "$pool/raw.img"
    make_bootable "$pool/raw.img"
    (cd "$pool" && qemu-img create -q -f qcow2 base.qcow2 16M &&
        qemu-io -c 'write -q -P 7 0 4M' base.qcow2 &&
        qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2)
    head -c 1000001 /dev/urandom >"$pool/cd.iso"
    truncate -s 5M "$pool/vol.img"
    virsh_a pool-define-as images dir --target "$pool" >/dev/null
    virsh_a pool-start images >/dev/null
    virsh_a pool-autostart images >/dev/null
    define g1 "$(disk raw "$pool/raw.img" vda)
        <disk type='file' device='cdrom'><source file='$pool/cd.iso' startupPolicy='optional'/>
        <target dev='sda' bus='sata'/></disk>$secret" "$metadata"
    define g2 "$(disk qcow2 "$pool/top.qcow2" vda)"
    define g3 "<disk type='volume'><driver name='qemu' type='raw'/>
        <source pool='images' volume='vol.img'/><target dev='vda' bus='virtio'/></disk>"
}

# All definitions, byte for byte; but not what of the pool is of the moment.
definitions() {
    local domain commands=''
    for domain in "${domains[@]}"; do
        commands+="dumpxml --inactive --security-info $domain; "
    done
    virsh_a "$commands pool-dumpxml --inactive images; pool-info images" |
        grep -vE '^ *<(capacity|allocation|available) |^(Capacity|Allocation|Available):'
}

remember() { definitions >"$scratch/before"; }
definitions_are_back() { definitions | diff "$scratch/before" -; }
originals_are_there() { (cd "$pool" && sha256sum --quiet -c "$scratch/sums"); }
nothing_in() { same "$(on_server find "/export/$1" -mindepth 1)" ''; }
no_journal() { same "$(find "$state_dir" -mindepth 1 2>/dev/null)" ''; } # nor a lock
untouched_but() { definitions_are_back && originals_are_there && nothing_in "$1"; }

phase_is() { grep -qsE "\"phase\": ?\"$1\"" "$state_dir"/pool-*.json; }
copying_in() { on_server find "/export/$1" -name '.*.godwit-part*' | grep -q .; }

runs() { [[ $(virsh_a domstate "$1") == running ]]; }
boots() { await 20 grep -qs 'boots from its disk' "$scratch/$1.serial"; }
start() {
    rm -f -- "$scratch/$1.serial"
    virsh_a start "$1"
}
stop_all() {
    local domain
    for domain in "${domains[@]}"; do
        ! runs "$domain" || virsh_a destroy "$domain" >/dev/null
    done
}
opens() { virsh_a qemu-monitor-command "$1" --hmp info block | grep -qF -- "$2"; }

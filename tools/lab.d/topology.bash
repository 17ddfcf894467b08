# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Who is in the lab. "sw" is the switch: a network namespace with a bridge and nothing else; it is
# brought up like a host, but is not one for the user.

# shellcheck disable=SC2034 # used by those who source this file

readonly lab_hosts=(a b nfs)
readonly lab_kvm_hosts=(a b)

readonly -A lab_address=([a]=10.77.0.1 [b]=10.77.0.2 [nfs]=10.77.0.3)
readonly -A lab_mac=([a]=52:54:00:77:00:01 [b]=52:54:00:77:00:02 [nfs]=52:54:00:77:00:03)
readonly lab_prefix_len=24
readonly lab_mtu_bytes=1500

# In the order of their start.
readonly -A lab_daemons=([a]='sshd libvirtd' [b]='sshd libvirtd' [nfs]='rpcbind ganesha')

# One wide enough for a PID 1 that is starting on a busy machine.
readonly lab_deadline_s=30

lab_is_host() { [[ -n ${1:-} && -n ${lab_address[$1]:-} ]]; }

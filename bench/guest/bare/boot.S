/*
 * SPDX-License-Identifier: Apache-2.0
 *
 * Multiboot header and entry. The loader leaves us in flat 32-bit protected mode without
 * paging and with interrupts off, and that is how the guest stays: with no descriptor
 * tables and no interrupts of its own there is nothing that a migration could lose.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00000003 /* modules page-aligned, memory size wanted */

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_MAGIC
    .long MULTIBOOT_FLAGS
    .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)

    .text
    .globl _start
_start:
    cli
    cld
    movl $stack_top, %esp
    movl %eax, %esi
    movl $bss_start, %edi
    movl $bss_end, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    xorl %ebp, %ebp
    subl $8, %esp /* keeps the stack 16-byte aligned at the call, as the ABI wants */
    pushl %ebx    /* multiboot information */
    pushl %esi    /* loader's magic */
    call guest_main
1:  cli
    hlt
    jmp 1b

    .section .stack, "aw", @nobits
    .balign 16
    .skip 16384
stack_top:

    .section .note.GNU-stack, "", @progbits

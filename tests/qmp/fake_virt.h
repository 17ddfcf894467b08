/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libvirt for tests of what fails, or of who outlives whom: its calls are those of the test's program,
 * which the linker takes before the library's. One domain that always runs, with metadata; a migration
 * that blocks until it is let go; events that the test makes.
 */
#ifndef TESTS_QMP_FAKE_VIRT_H
#define TESTS_QMP_FAKE_VIRT_H

#include <stdatomic.h>
#include <stdbool.h>

#define FAKE_VIRT_UUID "11111111-2222-3333-4444-555555555555"

extern char *fake_virt_title, *fake_virt_element; /* of the domain; NULL: none */
extern bool fake_virt_no_title;                   /* a title cannot be set */

extern atomic_bool fake_virt_dead; /* the connection has ended */

void fake_virt_forget(void);

/* Connections that are open. */
int fake_virt_connections(void);

/* A migration blocks; then lets the next one end, in failure. */
void fake_virt_let_migrate(void);

/* Callbacks that are registered, or deregistered and not given back; of QEMU's events and of lifecycle. */
int fake_virt_callbacks(void);
/* Calls them, as libvirt's thread does that had begun before they were deregistered. */
void fake_virt_say_made(int id);
void fake_virt_say(const char *event);
/* Gives those back that have been deregistered, with what they hold: of how many that is somebody's. */
int fake_virt_give_back(void);
/* Where a deregistration writes "b" when it begins, and "e" when it ends, which takes it a while; -1: nowhere. */
extern int fake_virt_deregistrations;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/migrate/vm.h"

const char *vm_death_reason(enum vm_death death)
{
    static const char *const reasons[] = {
        [VM_DEATH_NO_ANSWER] = "it does not answer",
        [VM_DEATH_LIVES] = "it lives",
        [VM_DEATH_PROCESS_GONE] = "its process is gone",
        [VM_DEATH_REBOOTED] = "its machine was booted anew",
        [VM_DEATH_NOT_ACTIVE] = "libvirt says that the domain is not active",
    };
    return reasons[death];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory copies of evidence may take: all of this process together, for each may be large
 * and there may be many. */
#include "index/internal.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <unistd.h>

#define SUM_MAX (UINT64_C (4) << 30)

static _Atomic uint64_t taken;

/* Half of what the machine has: the rest of it has work to do, too. */
static uint64_t
most (void)
{
  long pages = sysconf (_SC_PHYS_PAGES), size = sysconf (_SC_PAGESIZE);
  return pages > 0 && size > 0 ? MIN (SUM_MAX, (uint64_t)pages * (uint64_t)size / 2) : SUM_MAX;
}

bool
budget_take (const char *name, uint64_t size, GError **error)
{
  uint64_t before = atomic_fetch_add (&taken, size);
  if (size <= most () && before <= most () - size)
    return true;
  atomic_fetch_sub (&taken, size);
  return fail (error, ENOMEM,
               "%s: copies of databases would take up more than %" PRIu64
               " MiB of memory: name a directory for them with workdir=",
               name, most () >> 20);
}

void
budget_give (uint64_t size)
{
  atomic_fetch_sub (&taken, size);
}

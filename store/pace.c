/* SPDX-License-Identifier: Apache-2.0 */
/* Copying no faster than the word "rate" says, so that others find disk and network free. */
#include "store/jobs.h"

#define SECOND_US INT64_C (1000000)

/* Idle time that may be made up for at once: longer, and a pause would be followed by a burst. */
#define CREDIT_US (SECOND_US / 10)

/* A wait is cut into pieces of this length, so that whoever cancels the job waits no longer. */
#define NAP_US (SECOND_US / 10)

Pace
pace_of (StoreJob *job)
{
  return (Pace){.job = job, .rate = job->request->rate};
}

size_t
pace_chunk (const Pace *self, size_t most)
{
  return self == NULL || self->rate == 0 ? most : (size_t)CLAMP (self->rate / 10, 4096, most);
}

bool
pace_pass (Pace *self, uint64_t bytes, GError **error)
{
  if (self == NULL || self->rate == 0)
    return true;
  double cost_us = (double)bytes * (double)SECOND_US / (double)self->rate;
  self->due_us = MAX (self->due_us, g_get_monotonic_time () - CREDIT_US) + (int64_t)cost_us;
  int64_t left;
  while ((left = self->due_us - g_get_monotonic_time ()) > 0) {
    if (!job_go_on (self->job, error))
      return false;
    g_usleep ((gulong)MIN (left, NAP_US));
  }
  return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - what the threads of a mount have in common: each goes round until it is told to stop.
 */
#include "fs/loop.h"

void
loop_init (Loop *self)
{
  g_mutex_init (&self->mutex);
  g_cond_init (&self->wake);
}

void
loop_start (Loop *self, const char *name, GThreadFunc run, void *data)
{
  self->stop = false;
  self->thread = g_thread_new (name, run, data);
}

void
loop_stop (Loop *self)
{
  if (self->thread == NULL)
    return;
  g_mutex_lock (&self->mutex);
  self->stop = true;
  g_cond_signal (&self->wake);
  g_mutex_unlock (&self->mutex);
  g_clear_pointer (&self->thread, g_thread_join);
}

void
loop_clear (Loop *self)
{
  loop_stop (self);
  g_cond_clear (&self->wake);
  g_mutex_clear (&self->mutex);
}

bool
loop_goes_on (Loop *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return !self->stop;
}

bool
loop_sleep (Loop *self, int64_t us)
{
  int64_t until = g_get_monotonic_time () + us;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  while (!self->stop && g_cond_wait_until (&self->wake, &self->mutex, until))
    ;
  return !self->stop;
}

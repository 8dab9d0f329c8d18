/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead.c - the next page of a listing, prepared before it is asked for.
 *
 * Who lists a directory looks at the entries of one page and then asks for the next. The thread
 * that answered makes it meanwhile, so a walk hardly waits for the index. A page is given away
 * once. Any change in the store drops all of them: the notify thread does so before it tells of the
 * change, so a page that is given away later was made later, or by a handler whose Telling makes
 * the change be told again.
 */
#include "fs/internal.h"

/* As many directories may be listed at once. */
#define PAGES 4

struct Ahead {
  GMutex mutex; /* for what follows */
  Page pages[PAGES];
  unsigned oldest;
  uint64_t drops;
};

void
page_clear (Page *page)
{
  g_clear_pointer (&page->bytes, g_free);
}

Ahead *
ahead_new (void)
{
  Ahead *self = g_new0 (Ahead, 1);

  g_mutex_init (&self->mutex);
  return self;
}

void
ahead_free (Ahead *self)
{
  ahead_drop (self);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

void
ahead_drop (Ahead *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  self->drops++;
  for (size_t i = 0; i < PAGES; i++)
    page_clear (&self->pages[i]);
}

uint64_t
ahead_begin (Ahead *self)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  return self->drops;
}

void
ahead_put (Ahead *self, uint64_t begun, Page *page)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Page *place = &self->pages[self->oldest++ % PAGES];

  if (begun != self->drops)
    return;
  page_clear (place);
  *place = *page;
  page->bytes = NULL;
}

bool
ahead_take (Ahead *self, Page *page)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (size_t i = 0; i < PAGES; i++) {
    Page *place = &self->pages[i];
    if (place->bytes == NULL || place->ino != page->ino || place->offset != page->offset ||
        place->size != page->size)
      continue;
    *page = *place;
    place->bytes = NULL;
    return true;
  }
  return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * page.c - pages of listings that were made before they are asked for.
 *
 * A walk asks for one page of a directory after the other, and takes longer over each than making
 * it takes here. So the thread that has answered with a page makes the next one, meanwhile.
 *
 * What lies here may be out of date, so it is used only as long as no change was told since before
 * it was made: a change that is told later is told again after the reply (notify.c). What is
 * changed behind the store's back is not told, hence KEEP_US.
 */
#include "fs/cache.h"
#include "fs/node.h"

#define KEEP_US   G_TIME_SPAN_SECOND
#define PAGES_MAX 8

struct Pages {
  GMutex mutex; /* for what follows */
  unsigned next;
  Page pages[PAGES_MAX];
  int64_t made_us[PAGES_MAX];
};

Pages *
pages_new (void)
{
  Pages *self = g_new0 (Pages, 1);

  g_mutex_init (&self->mutex);
  return self;
}

void
page_clear (Page *page)
{
  g_clear_pointer (&page->bytes, g_free);
}

void
pages_free (Pages *self)
{
  if (self == NULL)
    return;
  for (size_t i = 0; i < PAGES_MAX; i++)
    page_clear (&self->pages[i]);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

bool
pages_take (Pages *self, Page *page)
{
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);

  for (size_t i = 0; i < PAGES_MAX; i++) {
    Page *kept = &self->pages[i];
    if (kept->bytes == NULL || kept->ino != page->ino || kept->offset != page->offset ||
        kept->size != page->size || kept->told != page->told ||
        g_get_monotonic_time () - self->made_us[i] > KEEP_US)
      continue;
    *page = *kept;
    kept->bytes = NULL;
    return true;
  }
  return false;
}

void
pages_put (Pages *self, Page *page)
{
  if (page->size > LISTING_SIZE)
    return;
  g_autoptr (GMutexLocker) lock G_GNUC_UNUSED = g_mutex_locker_new (&self->mutex);
  Page *kept = &self->pages[self->next];

  page_clear (kept);
  *kept = *page;
  page->bytes = NULL;
  self->made_us[self->next] = g_get_monotonic_time ();
  self->next = (self->next + 1) % PAGES_MAX;
}

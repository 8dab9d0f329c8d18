/* SPDX-License-Identifier: Apache-2.0 */
/* What mailfs.conf sets beside the format: figures, each with a default. */
#include "store/internal.h"

#include <string.h>

#define DAY_S INT64_C (86400)

const StoreSettingInfo store_settings[] = {
    [STORE_CLEANUP_SIZE] = {"cleanup.size", STORE_UNIT_COUNT, 100, 0, UINT32_MAX,
                            "expunged messages of a mailbox that a cleanup is queued at"},
    [STORE_CLEANUP_AGE] = {"cleanup.age", STORE_UNIT_TIME, DAY_S, 0, 36500 * DAY_S,
                           "how long an expunged message is kept"},
    [STORE_PURGE_COUNT] = {"purge.count", STORE_UNIT_COUNT, 500, 0, UINT32_MAX,
                           "records of removed messages of a mailbox that are kept"},
    [STORE_PURGE_PERCENTAGE] = {"purge.percentage", STORE_UNIT_PERCENT, 5, 0, 100,
                                "how much of a mailbox's rows they may be"},
    [STORE_PURGE_AGE] = {"purge.age", STORE_UNIT_TIME, 7 * DAY_S, 0, 36500 * DAY_S,
                         "how long orphans lie, and then what is in quarantine"},
    {NULL},
};

static const struct {
  const char *suffix;
  int64_t seconds;
} units[] = {{"w", 604800}, {"d", DAY_S}, {"h", 3600}, {"m", 60}, {"s", 1}, {"", 1}};

bool
store_age_parse (const char *text, int64_t *out_s, GError **error)
{
  char *end = NULL;
  uint64_t count = g_ascii_isdigit (*text) ? g_ascii_strtoull (text, &end, 10) : 0;
  for (size_t i = 0; end != NULL && i < G_N_ELEMENTS (units); i++) {
    if (strcmp (end, units[i].suffix) == 0 && count <= (uint64_t)(INT64_MAX / 604800)) {
      *out_s = (int64_t)count * units[i].seconds;
      return true;
    }
  }
  g_autofree char *printable = store_text_printable (text);
  return fail (error, EINVAL, "'%s' is no span of time; write 30m, 24h, 7d or 2w", printable);
}

/* In the largest unit that says it exactly, though not in weeks. */
static char *
age_to_string (int64_t age_s)
{
  size_t i = 1;
  while (age_s % units[i].seconds != 0)
    i++;
  return age_s == 0 ? g_strdup ("0")
                    : g_strdup_printf ("%" G_GINT64_FORMAT "%s", age_s / units[i].seconds,
                                       units[i].suffix);
}

int64_t
store_setting (const Store *self, StoreSetting setting)
{
  return self->settings[setting];
}

char *
store_setting_string (const Store *self, StoreSetting setting)
{
  int64_t value = self->settings[setting];
  return store_settings[setting].unit == STORE_UNIT_TIME
             ? age_to_string (value)
             : g_strdup_printf ("%" G_GINT64_FORMAT, value);
}

static bool
parse (const StoreSettingInfo *info, const char *text, int64_t *out, GError **error)
{
  int64_t value;
  uint64_t number;
  if (info->unit == STORE_UNIT_TIME) {
    if (!store_age_parse (text, &value, error))
      return false;
  } else {
    if (!g_ascii_string_to_unsigned (text, 10, 0, INT64_MAX, &number, NULL)) {
      g_autofree char *printable = store_text_printable (text);
      return fail (error, EINVAL, "'%s' is no number", printable);
    }
    value = (int64_t)number;
  }
  if (value < info->least || value > info->most)
    return fail (error, EINVAL, "'%s' is not between %" G_GINT64_FORMAT " and %" G_GINT64_FORMAT,
                 text, info->least, info->most);
  *out = value;
  return true;
}

bool
settings_load (Store *store, GKeyFile *file, GError **error)
{
  for (size_t i = 0; store_settings[i].name != NULL; i++) {
    const StoreSettingInfo *info = &store_settings[i];
    g_auto (GStrv) names = g_strsplit (info->name, ".", 2);
    g_autofree char *text = g_key_file_get_value (file, names[0], names[1], NULL);
    store->settings[i] = info->standard;
    if (text != NULL && !parse (info, g_strstrip (text), &store->settings[i], error))
      return fail_prefix (error, "%s in [%s]", names[1], names[0]);
  }
  return true;
}

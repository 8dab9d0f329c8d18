/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.c - telling the service manager that the mount is up, and how it is.
 *
 * The protocol of sd_notify(3) is a datagram of lines to the socket that NOTIFY_SOCKET names. It is
 * documented to stay as it is, also for those who do without libsystemd, which a daemon that reads
 * what strangers send need not have in its address space.
 */
#include "fs/log.h"
#include "store/store.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A name that begins with "@" is that of an abstract socket. False: nobody wants to be told. */
static bool
find_socket (struct sockaddr_un *out, socklen_t *out_size)
{
  const char *name = g_getenv ("NOTIFY_SOCKET");
  size_t length = name != NULL ? strlen (name) : 0;

  if (length < 2 || length >= sizeof out->sun_path || (*name != '/' && *name != '@'))
    return false;
  *out = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy (out->sun_path, name, length);
  if (*name == '@')
    out->sun_path[0] = '\0';
  *out_size = (socklen_t)(offsetof (struct sockaddr_un, sun_path) + length);
  return true;
}

void
service_tell (const char *format, ...)
{
  struct sockaddr_un address;
  socklen_t size;
  va_list arguments;

  if (!find_socket (&address, &size))
    return;
  va_start (arguments, format);
  g_autofree char *text = g_strdup_vprintf (format, arguments);
  va_end (arguments);
  auto_fd fd = socket (AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd >= 0)
    sendto (fd, text, strlen (text), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
}

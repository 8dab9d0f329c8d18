# SPDX-License-Identifier: Apache-2.0
#
# What a Debian package wants beyond what `cmake --install` puts into place. cpack runs this over what
# goes into the package.
set (root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set (doc ${root}/usr/share/doc/mailfs)
set (readable OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)

file (COPY ${CMAKE_CURRENT_LIST_DIR}/../systemd/mail.conf DESTINATION ${root}/etc/mailfs
      FILE_PERMISSIONS ${readable})
file (COPY ${CMAKE_CURRENT_LIST_DIR}/copyright DESTINATION ${doc} FILE_PERMISSIONS ${readable})
file (COPY ${CMAKE_CURRENT_LIST_DIR}/changelog DESTINATION ${doc} FILE_PERMISSIONS ${readable})
file (RENAME ${doc}/changelog ${doc}/changelog.Debian)
# Debian 12 has its units in /lib.
file (MAKE_DIRECTORY ${root}/lib)
file (RENAME ${root}/usr/lib/systemd ${root}/lib/systemd)
file (REMOVE_RECURSE ${root}/usr/lib)

file (GLOB pages ${root}/usr/share/man/man*/*)
execute_process (COMMAND gzip -9nf ${pages} ${doc}/changelog.Debian COMMAND_ERROR_IS_FATAL ANY)
file (GLOB_RECURSE directories LIST_DIRECTORIES true ${root}/*)
foreach (directory ${root} ${directories})
  if (IS_DIRECTORY ${directory} AND NOT IS_SYMLINK ${directory})
    file (CHMOD ${directory} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
          WORLD_READ WORLD_EXECUTE)
  endif ()
endforeach ()

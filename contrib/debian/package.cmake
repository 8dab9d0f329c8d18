# SPDX-License-Identifier: Apache-2.0
#
# The Debian package: cpack -G DEB --config BUILD/CPackConfig.cmake
set (CPACK_PACKAGE_NAME mailfs)
set (CPACK_PACKAGE_CONTACT "mailfs maintainers <mailfs@example.org>" CACHE STRING
     "who made the package, as NAME <ADDRESS>")
set (CPACK_PACKAGE_DESCRIPTION_SUMMARY "mail store of flat files, shown as a filesystem")
set (CPACK_PACKAGE_DESCRIPTION
"mailfs keeps mail as flat message files with an SQLite index beside them, and
mounts the store as a filesystem: mailboxes are directories, messages are
files. A store can be inspected, backed up, checked and rebuilt while mail
flows. mailfs mounts, mailstore administers, fsck.mailfs checks.")
set (CPACK_PACKAGING_INSTALL_PREFIX /usr)
set (CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR})
set (CPACK_STRIP_FILES ON)
set (CPACK_GENERATOR DEB)
set (CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/stage.cmake)

set (CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set (CPACK_DEBIAN_PACKAGE_RELEASE 1)
set (CPACK_DEBIAN_PACKAGE_SECTION mail)
set (CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set (CPACK_DEBIAN_PACKAGE_RECOMMENDS "fuse3")
set (CPACK_DEBIAN_PACKAGE_SUGGESTS "attr, bash-completion, rsync")
set (CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set (CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
     ${CMAKE_CURRENT_LIST_DIR}/conffiles ${CMAKE_CURRENT_LIST_DIR}/postinst
     ${CMAKE_CURRENT_LIST_DIR}/prerm ${CMAKE_CURRENT_LIST_DIR}/postrm)
include (CPack)

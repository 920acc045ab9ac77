# `cmake --install`: library, headers, launcher, and the two ways to find them (pkg-config, find_package). The result may be
# moved as a whole: nothing in it holds the prefix.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tri)
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_to_prefix /${pc_dir} /)
string(REGEX REPLACE "/$" "" pc_to_prefix ${pc_to_prefix})
configure_file(cmake/tri.pc.in tri.pc @ONLY)
write_basic_package_version_file(tri-config-version.cmake COMPATIBILITY SameMajorVersion)

install(TARGETS tri EXPORT tri FILE_SET HEADERS)
if(TARGET tri_launcher)
  install(TARGETS tri_launcher)
endif()
# The exported targets are all there is to say, so they are the package file itself.
install(EXPORT tri FILE tri-config.cmake NAMESPACE tri:: DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/tri-config-version.cmake DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/tri.pc DESTINATION ${pc_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# `cmake --install`: library, headers, launcher, gdb's script, and the two ways to find them (pkg-config, find_package). The result may be
# moved as a whole: nothing in it holds the prefix (but the script's place does, and gdb finds it there no more).
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tri)
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_to_prefix /${pc_dir} /)
string(REGEX REPLACE "/$" "" pc_to_prefix ${pc_to_prefix})
configure_file(cmake/tri.pc.in tri.pc @ONLY)
write_basic_package_version_file(tri-config-version.cmake COMPATIBILITY SameMajorVersion)

install(TARGETS tri EXPORT tri FILE_SET HEADERS)
# In a folder of its own the name that programs ask for: nobody is to get it in libgc's place who does not name that folder.
install(TARGETS tri_gc_compat LIBRARY)
install(CODE "
  set(folder \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/tri-gc\")
  file(MAKE_DIRECTORY \"\${folder}\")
  file(CREATE_LINK ../$<TARGET_FILE_NAME:tri_gc_compat> \"\${folder}/libgc.so.1\" SYMBOLIC)")
if(TARGET tri_launcher)
  install(TARGETS tri_launcher)
endif()
# The exported targets are all there is to say, so they are the package file itself.
install(EXPORT tri FILE tri-config.cmake NAMESPACE tri:: DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/tri-config-version.cmake DESTINATION ${package_dir})
install(FILES ${PROJECT_BINARY_DIR}/tri.pc DESTINATION ${pc_dir})
# gdb looks for an object's script below its own auto-load folder, by the object's path. The prefix is that of the installation, which
# may be another than that of the configuration.
install(FILES scripts/tri-gdb.py RENAME $<TARGET_FILE_NAME:tri>-gdb.py
        DESTINATION ${CMAKE_INSTALL_DATADIR}/gdb/auto-load\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# libtri-gc-compat.so: libgc's functions on libtri.so. Its soname is libgc.so.1, which is what programs ask for; the build has a link of that name beside it.
file(GLOB compat_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shim/compat/*.cc)
set(compat_exports ${PROJECT_SOURCE_DIR}/shim/compat/exports.map)

add_library(tri_gc_compat SHARED ${compat_sources})
target_link_libraries(tri_gc_compat PRIVATE $<BUILD_INTERFACE:tri_config> $<BUILD_INTERFACE:tri_library_flags> tri c gcc)
set_target_properties(tri_gc_compat PROPERTIES
  OUTPUT_NAME tri-gc-compat LINKER_LANGUAGE CXX LINK_DEPENDS ${compat_exports}
  NO_SONAME ON
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}
  # libtri.so.1 is looked for beside it, and beside the folder with the link: the dynamic linker follows no link for $ORIGIN.
  BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "$ORIGIN:$ORIGIN/..")
target_link_options(tri_gc_compat PRIVATE
  -Wl,-soname,libgc.so.1
  -Wl,--version-script=${compat_exports} -Wl,--no-undefined -Wl,--hash-style=gnu
  -Wl,-Bsymbolic-functions -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
  # Blocks and the threads that use them outlive any dlclose.
  -Wl,-z,nodelete
  -nodefaultlibs)
# A folder for LD_LIBRARY_PATH.
set(TRI_COMPAT_DIR ${PROJECT_BINARY_DIR}/tri-gc)
add_custom_command(TARGET tri_gc_compat POST_BUILD
  COMMAND ${CMAKE_COMMAND} -E make_directory ${TRI_COMPAT_DIR}
  COMMAND ${CMAKE_COMMAND} -E create_symlink $<TARGET_FILE:tri_gc_compat> ${TRI_COMPAT_DIR}/libgc.so.1)

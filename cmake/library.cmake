# libtri.so: the objects of every part and the shim, behind the version script's list of names; and the launcher.
get_property(parts GLOBAL PROPERTY TRI_PARTS)
tri_sources(shim_sources shim)
set(exports ${PROJECT_SOURCE_DIR}/shim/exports.map)

add_library(tri SHARED ${shim_sources})
foreach(part IN LISTS parts)
  # Objects, not the archive: a linker leaves out an archive's member that nothing asks for.
  target_sources(tri PRIVATE $<TARGET_OBJECTS:${part}>)
  target_include_directories(tri PRIVATE $<TARGET_PROPERTY:${part},INTERFACE_INCLUDE_DIRECTORIES>)
endforeach()
file(GLOB_RECURSE public_headers CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shim/include/*.h ${PROJECT_SOURCE_DIR}/shim/include/*.hpp)
target_sources(tri PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/shim/include FILES ${public_headers})

target_link_libraries(tri PRIVATE $<BUILD_INTERFACE:tri_config> $<BUILD_INTERFACE:tri_library_flags>)
target_compile_definitions(tri PRIVATE TRI_VERSION="${PROJECT_VERSION}")
set_target_properties(tri PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION 1
  LINKER_LANGUAGE CXX LINK_DEPENDS ${exports}
  LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_link_options(tri PRIVATE
  -Wl,--version-script=${exports} -Wl,--no-undefined -Wl,--hash-style=gnu
  # Our own calls of malloc reach our malloc directly, even in a program that brings one of its own.
  -Wl,-Bsymbolic-functions
  # Everything is bound at load: a lazy binding inside malloc would run the dynamic linker, which calls malloc.
  -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack
  # Blocks outlive any dlclose, and so do threads whose exit runs our code: never unmap.
  -Wl,-z,nodelete
  # libc and nothing else: a C++ runtime here would meet the host's own, and would call malloc before we are ready.
  -nodefaultlibs)
target_link_libraries(tri PRIVATE c gcc)
file(GLOB goroutine_api CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shim/*_api.cc)
set_property(SOURCE ${goroutine_api} APPEND PROPERTY COMPILE_OPTIONS
             $<TARGET_PROPERTY:tri_goroutine_flags,INTERFACE_COMPILE_OPTIONS>)

file(GLOB launcher_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shim/launcher/*.cc)
if(launcher_sources)
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  add_executable(tri_launcher ${launcher_sources})
  set_target_properties(tri_launcher PROPERTIES OUTPUT_NAME tri RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_include_directories(tri_launcher PRIVATE ${PROJECT_SOURCE_DIR}/shim/include)
  # It looks for libtri.so.1 beside itself (build tree), then at TRI_LIBDIR from its own folder (installed).
  target_compile_definitions(tri_launcher PRIVATE TRI_VERSION="${PROJECT_VERSION}" TRI_LIBDIR="${bin_to_lib}")
  # The report is printed by the code that prints it inside the library.
  target_link_libraries(tri_launcher PRIVATE tri_config tri_warnings alloc)
  add_dependencies(tri_launcher tri)
endif()

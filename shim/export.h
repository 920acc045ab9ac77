// export.h - How a definition of ours becomes visible outside of the library, if exports.map lists it, too.
#ifndef TRI_SHIM_EXPORT_H
#define TRI_SHIM_EXPORT_H

#include <malloc.h>
#include <stdlib.h>

#define TRI_EXPORT_BEGIN _Pragma("GCC visibility push(default)") extern "C" {
#define TRI_EXPORT_END \
  }                    \
  _Pragma("GCC visibility pop")

#endif

// keys.cc - A library to preload: its constructor takes every thread key that there is.
#include <pthread.h>

#include "support/require.h"

namespace {

__attribute__((constructor(101))) void take_all_keys() {
  pthread_key_t key;
  int taken = 0;
  while (pthread_key_create(&key, nullptr) == 0) ++taken;
  tri_test::require(taken > 900, "nearly all keys were free");
  tri_test::say("keys taken\n");
}

}  // namespace

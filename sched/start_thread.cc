// start_thread.cc - See start_thread.h.
#include "sched/start_thread.h"

#include <pthread.h>

namespace tri::sched {

int start_thread(void* (*main)(void*), void* arg, size_t stack_bytes, const sigset_t* mask) {
  sigset_t all;
  sigfillset(&all);
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) return error;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_attr_setsigmask_np(&attributes, mask == nullptr ? &all : mask);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, main, arg);
  pthread_attr_destroy(&attributes);
  return error;
}

}  // namespace tri::sched

// start_thread.cc - See start_thread.h.
#include "sched/start_thread.h"

#include <pthread.h>

#include <atomic>

#include "alloc/base/sys.h"

namespace tri::sched {
namespace {

struct Service {
  std::atomic<bool> taken{false};
  std::atomic<uint32_t> id{0};
  void* (*main)(void*) = nullptr;
  void* arg = nullptr;
};
// One each of sysmon, maker, netpoll, ager, resolvers at most; one that finds no place is a thread like any other.
constinit Service services[16];

void* run_service(void* record) {
  auto* const s = static_cast<Service*>(record);
  s->id.store(sys::thread_id(), std::memory_order_relaxed);
  void* const result = s->main(s->arg);
  s->id.store(0, std::memory_order_relaxed);
  s->taken.store(false, std::memory_order_release);  // pairs with the acquire in take_service()
  return result;
}

Service* take_service() {
  for (Service& s : services) {
    if (!s.taken.exchange(true, std::memory_order_acquire)) return &s;
  }
  return nullptr;
}

}  // namespace

bool is_service_thread(uint32_t id) {
  for (const Service& s : services) {
    if (s.id.load(std::memory_order_relaxed) == id) return true;
  }
  return false;
}

void forget_service_threads() {
  for (Service& s : services) {
    s.id.store(0, std::memory_order_relaxed);
    s.taken.store(false, std::memory_order_relaxed);
  }
}

int start_thread(void* (*main)(void*), void* arg, size_t stack_bytes, const sigset_t* mask) {
  Service* const service = mask == nullptr ? take_service() : nullptr;
  if (service != nullptr) {
    service->main = main;
    service->arg = arg;
    main = run_service;
    arg = service;
  }
  sigset_t all;
  sigfillset(&all);
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) {
    if (service != nullptr) service->taken.store(false, std::memory_order_release);
    return error;
  }
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, stack_bytes);
  pthread_attr_setsigmask_np(&attributes, mask == nullptr ? &all : mask);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, main, arg);
  pthread_attr_destroy(&attributes);
  if (error != 0 && service != nullptr) service->taken.store(false, std::memory_order_release);
  return error;
}

}  // namespace tri::sched

// os.h - What the allocator asks of the operating system.
//
// Nothing here touches errno, allocates, or takes a lock; failures come back as null, false or a negative errno. The
// calls that give memory can be made to fail (fail_after), and the clock can be replaced, so that tests need neither
// an exhausted machine nor patience.
//
// Used by: alloc, shim. Implemented in os/linux/.
#ifndef TRI_ALLOC_OS_OS_H
#define TRI_ALLOC_OS_OS_H

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace tri::os {

// ---- memory (mem.cc) ------------------------------------------------------------------------------------------

/// The kernel's page: what it maps and takes back in. 4 KiB on x86-64; asked for once, never assumed.
size_t page_size();

/// Address space without memory behind it, aligned to `alignment` (a power of two, at least a page). Null when there
/// is none. It counts towards RLIMIT_AS, but neither towards RLIMIT_DATA nor towards the commit limit.
[[nodiscard]] void* reserve(size_t bytes, size_t alignment);
/// Makes reserved pages usable; they read as zero. False when the system refuses.
[[nodiscard]] bool commit(void* p, size_t bytes);
/// Makes reserved pages readable only: zero, and free of cost until commit().
[[nodiscard]] bool make_readable(void* p, size_t bytes);
/// reserve() and commit() in one.
[[nodiscard]] void* map(size_t bytes, size_t alignment);
void unmap(void* p, size_t bytes);
/// Gives the memory behind the pages back at once; they read as zero when next touched. False if the system would
/// not (locked pages): the contents are then as they were.
bool purge(void* p, size_t bytes);
/// Changes the size of a mapping made by map() where it stands; false if there is no room.
[[nodiscard]] bool resize(void* p, size_t old_bytes, size_t new_bytes);
/// Moves a mapping, with its contents, onto the reserved `place` of new_bytes; false, and nothing done, if refused.
[[nodiscard]] bool move(void* p, size_t old_bytes, void* place, size_t new_bytes);
/// Asks for huge pages (+1), for none (-1).
void advise_huge(void* p, size_t bytes, int wish);
/// The soft limit of address space, or SIZE_MAX.
size_t address_space_limit();

/// From now on the call number `n` (0 is the next) of reserve, commit, map, resize and move and all after it fail; negative:
/// none. For tests.
void fail_after(long n);

// ---- time and threads (clock.cc, thread.cc) --------------------------------------------------------------------

/// Nanoseconds of the monotonic clock, to the tick of the kernel (1 to 4 ms). A system call: for slow moments.
int64_t now_ns();
/// Replaces now_ns() for tests; null restores it.
void set_clock(int64_t (*clock)());

/// A thread that libc does not know of, with all signals blocked: what it runs may use only this header, and thread-local variables of
/// ours, which are all zero. It exists for work that must start inside free(), where pthread_create() could meet its own locks, or while all
/// threads that libc knows stand still. The record stays for good, and so does its memory.
struct BareThread {
  std::atomic<uint32_t> id{0};  // the kernel's; 0 once it is over, and kStarting
  char* memory = nullptr;       // stack and thread-local variables; who starts it
  BareThread* next = nullptr;   // of all that were ever started
  void (*fn)(void*) = nullptr;
  void* arg = nullptr;

  static constexpr uint32_t kStarting = UINT32_MAX;
};
/// Starts fn(arg). False if refused, or if it runs already. One caller at a time for each record.
[[nodiscard]] bool start_bare_thread(BareThread* t, void (*fn)(void* arg), void* arg);
/// Waits until it is over, and gives back what its memory held.
void join_bare_thread(BareThread* t);
/// Bytes at `memory`.
size_t bare_thread_bytes();
/// Whether the thread with this id is one of them. Lock-free. A thread that the kernel lists while it is being started may not be known yet.
bool is_bare_thread(uint32_t id);
/// For as long as it exists: the calling thread is one of the library's own that libc does know, deaf to all signals, and keeps nothing of the
/// program's in its registers alone. Who stops the world leaves it out of account. On the stack of such a thread; a few at a time, others count as the
/// program's.
class OwnThread {
 public:
  OwnThread();
  ~OwnThread();
  OwnThread(const OwnThread&) = delete;
  OwnThread& operator=(const OwnThread&) = delete;

 private:
  std::atomic<uint32_t>* place_;
};
bool is_own_thread(uint32_t id);
/// After fork(): they all stayed in the parent.
void forget_bare_threads();

// ---- process (proc.cc) -----------------------------------------------------------------------------------------

/// Random bytes from the kernel; falls back to the clock and addresses where getrandom() is refused.
uint64_t random64();
/// Resident memory of this process in bytes; 0 without /proc.
size_t resident_bytes();
/// Reads all of a small file; returns the length, or -1.
long read_file(const char* path, char* buffer, size_t size);

/// Copies memory that may not be there, or may vanish meanwhile; false then. Where the kernel does not copy for others (seccomp), it is asked
/// whether it is there, and then read: what vanishes in between ends the program.
[[nodiscard]] bool read_memory(void* to, uintptr_t from, size_t bytes);
/// Whether the 8 bytes at p, aligned, can be read just now.
bool is_readable(uintptr_t p);

/// What an address belongs to, as far as the kernel knows.
enum class Mapping : uint8_t { kUnknown, kNone, kStack, kFile, kBreak, kAnonymous };
/// Writes the file's last component to `name` for kFile. kUnknown without /proc.
Mapping what_is_mapped_at(const void* p, char* name, size_t name_size);

}  // namespace tri::os

#endif

// remote_free.h - Freeing blocks that another thread's span holds.
//
// A thread collects such blocks in small batches, one for each of the spans that it frees to most, and posts a batch
// with a single compare-and-swap (snmalloc's idea, at the grain of a span). A batch is posted when it is long or large,
// when its place is needed for another span, and every few refills, so that little memory is ever on its way.
//
// An owner that sleeps collects nothing, so what others free to it would stay with it for as long as it sleeps. Beyond a bound,
// who frees the last block of a span takes its pages away: hollow spans.
//
// The life of a block on its way, and who may touch what, is told in span.h at `remote`.
//
// Used by: mcache, malloc.
#ifndef TRI_ALLOC_REMOTE_FREE_H
#define TRI_ALLOC_REMOTE_FREE_H

#include <cstdint>

#include "alloc/span.h"

namespace tri {

class RemoteBatches {
 public:
  /// Takes the block at `offset` of `s`, which the calling thread does not own.
  void add(Span* s, uint64_t offset);
  /// Posts all batches.
  void flush();

 private:
  struct Batch {
    Span* span;
    uint32_t head;
    uint32_t tail;
    uint32_t count;
  };
  static constexpr size_t kBatches = 16;
  static constexpr uint32_t kMaxBlocks = 64;
  static constexpr uint32_t kMaxBytes = 16 * 1024;

  static void post(Batch& batch);

  Batch batches_[kBatches] = {};
  bool any_ = false;
};

/// Posts a chain of free blocks, from offset `head` to `tail`, linked but for the last, to their span, whoever owns it: also the caller, who finds it at
/// a refill.
void post_chain(Span* s, uint32_t head, uint32_t tail, uint32_t count);

/// Takes in what other threads freed to this thread's spans.
void drain_notify(MCache& mcache);

}  // namespace tri

#endif

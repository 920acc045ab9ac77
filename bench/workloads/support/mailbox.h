// mailbox.h - A bounded queue of batches between threads: what one allocates, another frees.
#ifndef TRI_BENCH_MAILBOX_H_
#define TRI_BENCH_MAILBOX_H_

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace bench {

// Any number of producers and consumers; all methods may run in parallel. A batch is moved, so that the lock is held
// for a few instructions and the queue itself allocates nothing after its first round.
template <typename Batch>
class Mailbox {
 public:
  explicit Mailbox(size_t capacity) : ring_(capacity) {}

  void put(Batch batch) {
    std::unique_lock lock(mutex_);
    space_.wait(lock, [&] { return count_ < ring_.size(); });
    ring_[(head_ + count_++) % ring_.size()] = std::move(batch);
    items_.notify_one();
  }

  // Nothing once the mailbox is closed and empty.
  std::optional<Batch> take() {
    std::unique_lock lock(mutex_);
    items_.wait(lock, [&] { return count_ > 0 || closed_; });
    return pop();
  }

  std::optional<Batch> try_take() {
    std::unique_lock lock(mutex_);
    return pop();
  }

  // False, and the batch stays the caller's, when there is no room.
  bool try_put(Batch& batch) {
    std::unique_lock lock(mutex_);
    if (count_ == ring_.size()) return false;
    ring_[(head_ + count_++) % ring_.size()] = std::move(batch);
    items_.notify_one();
    return true;
  }

  void close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    items_.notify_all();
  }

 private:
  std::optional<Batch> pop() {
    if (count_ == 0) return std::nullopt;
    std::optional<Batch> batch(std::move(ring_[head_]));
    head_ = (head_ + 1) % ring_.size();
    count_--;
    space_.notify_one();
    return batch;
  }

  std::mutex mutex_;
  std::condition_variable items_, space_;
  std::vector<Batch> ring_;  // mutex_
  size_t head_ = 0, count_ = 0;
  bool closed_ = false;
};

}  // namespace bench

#endif  // TRI_BENCH_MAILBOX_H_

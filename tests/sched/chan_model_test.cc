// chan_model_test.cc - Channels and select against a model that has no concurrency: who waits, in which order, and who is served.
//
// On one P, operations are started at random, each in a goroutine of its own, and everybody runs until all wait or have
// ended. Then the model, which keeps queues of those who wait, must agree: who has ended, with which case, which value.
#include <cerrno>
#include <deque>
#include <memory>
#include <vector>

#include "sched/proc.h"
#include "sched/select.h"
#include "tests/sched/sched_support.h"

namespace tri::sched {
namespace {

struct ModelCase {
  bool send;
  int chan;  // -1: null
  int value;
};

struct Op {
  std::vector<ModelCase> cases;
  bool waits;
  bool plain;  // by send() and receive(), not by select()
  Context* context = nullptr;
  TaskId task = 0;
  // What happened.
  bool ended = false;
  int result = 0;
  bool closed = false;
  std::vector<int> values;
  // What should have.
  bool model_ended = false;
  int model_result = 0;
  bool model_closed = false;
  int model_value = 0;
};

struct ModelChan {
  size_t capacity;
  bool closed = false;
  std::deque<int> ring;
  struct Waiting {
    Op* op;
    int index;
  };
  std::deque<Waiting> receivers;
  std::deque<Waiting> senders;
  Channel* real = nullptr;
};

class Model {
 public:
  explicit Model(test::Random* random) : random_(*random) {
    for (const size_t capacity : {size_t{0}, size_t{0}, size_t{1}, size_t{3}}) {
      ModelChan c;
      c.capacity = capacity;
      c.real = Channel::create(sizeof(int), capacity);
      chans_.push_back(c);
    }
  }

  void step() {
    const size_t dice = random_.below(100);
    if (dice < 80) {
      start();
    } else if (dice < 97) {
      cancel_one();
    } else {
      close_one();
    }
    check();
  }

  void finish() {
    for (auto& op : ops_) {
      if (!op->ended) cancel(op.get());
    }
    check();
    for (auto& op : ops_) {
      ASSERT_TRUE(op->ended);
      ASSERT_EQ(join(op->task, now() + test::milliseconds(10'000)), 0);
      op->context->unref();
    }
    for (ModelChan& c : chans_) c.real->unref();
  }

 private:
  static void settle() {
    // On one P a yield comes back when all others have run until they wait, or are preempted.
    do {
      yield();
    } while (!sched.ps[0].load()->runq.empty() || global_work());
  }

  void start() {
    ops_.push_back(std::make_unique<Op>());
    Op* const op = ops_.back().get();
    op->plain = random_.one_in(2);
    op->waits = !random_.one_in(4);
    const size_t n = op->plain ? 1 : random_.between(1, 5);
    for (size_t i = 0; i < n; ++i) {
      const int chan = !op->plain && random_.one_in(8) ? -1 : static_cast<int>(random_.below(chans_.size()));
      op->cases.push_back({random_.one_in(2), chan, ++last_value_});
      op->values.push_back(op->cases.back().send ? last_value_ : -1);
    }
    op->context = Context::create(nullptr, kForever, nullptr, nullptr);
    op->task = test::spawn([this, op] { run(op); });
    settle();
    apply(op);
  }

  void run(Op* op) {
    attach_context(op->context);
    const Time deadline = op->waits ? kForever : kNoWait;
    if (op->plain) {
      Channel* const c = chans_[static_cast<size_t>(op->cases[0].chan)].real;
      op->result = op->cases[0].send ? c->send(&op->values[0], deadline) : c->receive(&op->values[0], deadline);
      if (op->result == -EPIPE) {
        op->closed = true;
        op->result = 0;
      }
    } else {
      std::vector<Case> cases;
      for (size_t i = 0; i < op->cases.size(); ++i) {
        const ModelCase& m = op->cases[i];
        cases.push_back({m.send ? CaseKind::kSend : CaseKind::kReceive, 0,
                         m.chan < 0 ? nullptr : chans_[static_cast<size_t>(m.chan)].real, &op->values[i], 0, false});
      }
      op->result = select(cases.data(), cases.size(), deadline);
      if (op->result >= 0) op->closed = cases[static_cast<size_t>(op->result)].closed;
    }
    attach_context(nullptr);
    op->ended = true;
  }

  bool is_ready(const ModelCase& m) {
    if (m.chan < 0) return false;
    const ModelChan& c = chans_[static_cast<size_t>(m.chan)];
    if (c.closed) return true;
    return m.send ? !c.receivers.empty() || c.ring.size() < c.capacity : !c.ring.empty() || !c.senders.empty();
  }

  void apply(Op* op) {
    bool any = false;
    for (const ModelCase& m : op->cases) any |= is_ready(m);
    if (!any && !op->waits) return end(op, -EAGAIN, false, 0);
    if (!any) {
      for (size_t i = 0; i < op->cases.size(); ++i) {
        const ModelCase& m = op->cases[i];
        if (m.chan < 0) continue;
        ModelChan& c = chans_[static_cast<size_t>(m.chan)];
        (m.send ? c.senders : c.receivers).push_back({op, static_cast<int>(i)});
      }
      return;
    }
    // Of several that are ready any may have been taken, but one of them must.
    ASSERT_TRUE(op->ended);
    ASSERT_GE(op->result, 0);
    const ModelCase& m = op->cases[static_cast<size_t>(op->result)];
    ASSERT_TRUE(is_ready(m)) << "case " << op->result;
    ModelChan& c = chans_[static_cast<size_t>(m.chan)];
    if (m.send) {
      if (c.closed) return end(op, op->result, true, 0);
      if (!c.receivers.empty()) {
        const auto w = c.receivers.front();
        end(w.op, w.index, false, m.value);
      } else {
        c.ring.push_back(m.value);
      }
      return end(op, op->result, false, 0);
    }
    int value = 0;
    bool closed = false;
    if (!c.ring.empty()) {
      value = c.ring.front();
      c.ring.pop_front();
      if (!c.senders.empty()) {
        const auto w = c.senders.front();
        c.ring.push_back(w.op->cases[static_cast<size_t>(w.index)].value);
        end(w.op, w.index, false, 0);
      }
    } else if (!c.senders.empty()) {
      const auto w = c.senders.front();
      value = w.op->cases[static_cast<size_t>(w.index)].value;
      end(w.op, w.index, false, 0);
    } else {
      closed = true;
    }
    end(op, op->result, closed, value);
  }

  void end(Op* op, int result, bool closed, int value) {
    op->model_ended = true;
    op->model_result = result;
    op->model_closed = closed;
    op->model_value = value;
    for (ModelChan& c : chans_) {
      std::erase_if(c.receivers, [op](const ModelChan::Waiting& w) { return w.op == op; });
      std::erase_if(c.senders, [op](const ModelChan::Waiting& w) { return w.op == op; });
    }
  }

  void cancel(Op* op) {
    op->context->cancel();
    settle();
    end(op, -ECANCELED, false, 0);
  }

  void cancel_one() {
    std::vector<Op*> waiting;
    for (auto& op : ops_) {
      if (!op->model_ended) waiting.push_back(op.get());
    }
    if (!waiting.empty()) cancel(waiting[random_.below(waiting.size())]);
  }

  void close_one() {
    const size_t i = random_.below(chans_.size());
    ModelChan& c = chans_[i];
    ASSERT_EQ(c.real->close(), !c.closed);
    settle();
    c.closed = true;
    while (!c.receivers.empty()) end(c.receivers.front().op, c.receivers.front().index, true, 0);
    while (!c.senders.empty()) end(c.senders.front().op, c.senders.front().index, true, 0);
    check();
    if (::testing::Test::HasFatalFailure()) return;
    // A new one takes its place, or soon all would be closed. Operations that have named the old one keep it alive.
    if (!random_.one_in(3)) return;
    bool named = false;
    for (auto& op : ops_) named |= !op->model_ended;
    if (named) return;
    c.real->unref();
    c.real = Channel::create(sizeof(int), c.capacity);
    c.closed = false;
    c.ring.clear();
  }

  void check() {
    for (size_t i = 0; i < ops_.size(); ++i) {
      const Op& op = *ops_[i];
      ASSERT_EQ(op.ended, op.model_ended) << "operation " << i;
      if (!op.ended) continue;
      ASSERT_EQ(op.result, op.model_result) << "operation " << i;
      ASSERT_EQ(op.closed, op.model_closed) << "operation " << i;
      for (size_t k = 0; k < op.cases.size(); ++k) {
        // Only the case that was done may have written.
        if (op.cases[k].send) {
          ASSERT_EQ(op.values[k], op.cases[k].value);
        } else if (static_cast<int>(k) == op.result) {
          ASSERT_EQ(op.values[k], op.model_value) << "operation " << i;
        } else {
          ASSERT_EQ(op.values[k], op.plain && op.closed ? 0 : -1) << "operation " << i;
        }
      }
    }
    for (const ModelChan& c : chans_) {
      ASSERT_EQ(c.real->length(), c.ring.size());
      c.real->lock().lock();
      c.real->verify();
      ASSERT_EQ(c.real->receivers().empty(), c.receivers.empty());
      ASSERT_EQ(c.real->senders().empty(), c.senders.empty());
      c.real->lock().unlock();
    }
    // What has ended is checked once.
    if (ops_.size() > 64) drop_ended();
  }

  void drop_ended() {
    std::erase_if(ops_, [](const std::unique_ptr<Op>& op) {
      if (!op->ended || !op->model_ended) return false;
      op->context->unref();
      return true;
    });
  }

  test::Random& random_;
  std::vector<ModelChan> chans_;
  std::vector<std::unique_ptr<Op>> ops_;
  int last_value_ = 0;
};

TEST(ChanModel, AgreesUnderRandomOperations) {
  const int before = set_procs(1);
  for (uint64_t run = 0; run < test::rounds(60); ++run) {
    test::in_goroutine([run] {
      test::Random random(run);
      Model model(&random);
      for (int i = 0; i < 300; ++i) {
        model.step();
        if (::testing::Test::HasFatalFailure()) return;
      }
      model.finish();
    });
    ASSERT_FALSE(HasFatalFailure()) << "in run " << run;
  }
  set_procs(before);
}

}  // namespace
}  // namespace tri::sched

#include "tests/support/thread_group.h"

#include <ATen/Parallel.h>
#include <ATen/ops/stack.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/parallel/background_group.h"

namespace annuli::test {
namespace {

using parallel::LostProcess;

constexpr std::chrono::seconds kTimeout{60};

// What a thread brings to an operation.
struct Offer {
  const char* operation = "";
  std::string text;
  at::Tensor tensor;
  std::vector<at::Tensor> pieces;  // one for each thread; of any length

  bool is_like(const Offer& other) const {
    return std::string_view(operation) == other.operation &&
           tensor.defined() == other.tensor.defined() &&
           (!tensor.defined() ||
            (tensor.sizes() == other.tensor.sizes() &&
             tensor.scalar_type() == other.tensor.scalar_type())) &&
           pieces.size() == other.pieces.size() &&
           (pieces.empty() ||
            pieces[0].scalar_type() == other.pieces[0].scalar_type());
  }
};
using Offers = std::shared_ptr<const std::vector<Offer>>;

// Where the threads wait for each other.
class Meeting {
 public:
  explicit Meeting(int64_t size) : coming_(size) {}

  int64_t size() const { return std::ssize(coming_); }

  // Returns all offers when all have come.
  Offers meet(int64_t rank, Offer offer) {
    std::unique_lock lock(mutex_);
    if (lost_) throw LostProcess(*lost_);
    coming_[rank] = std::move(offer);
    const int64_t number = number_;
    if (++arrived_ == size()) {
      const std::vector<Offer> next(coming_.size());
      all_ = std::make_shared<const std::vector<Offer>>(
          std::exchange(coming_, next));
      arrived_ = 0;
      ++number_;
      changed_.notify_all();
      return all_;
    }
    const bool came = changed_.wait_for(
        lock, kTimeout, [&] { return number_ != number || lost_; });
    if (number_ != number) return all_;
    if (!came) lost_.emplace(2, fmt::format("rank {} waited too long", rank));
    changed_.notify_all();
    throw LostProcess(*lost_);
  }

  void lose(int status, const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (!lost_) lost_.emplace(status, text);
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Offer> coming_;
  Offers all_;  // of the last operation
  int64_t arrived_ = 0;
  int64_t number_ = 0;
  std::optional<LostProcess> lost_;
};

class ThreadGroup final : public parallel::ProcessGroup {
 public:
  ThreadGroup(Meeting& meeting, int64_t rank)
      : meeting_(meeting), rank_(rank) {}

  int64_t rank() const override { return rank_; }
  int64_t size() const override { return meeting_.size(); }
  void work_at(std::string what) override {}
  int64_t bytes_sent() const override { return sent_; }

  void barrier() override { meet({.operation = "barrier"}); }

  std::vector<std::string> gather(std::string_view text) override {
    const Offers offers =
        meet({.operation = "gather", .text = std::string(text)});
    std::vector<std::string> texts;
    size_t longest = 0;
    for (const Offer& offer : *offers) {
      texts.push_back(offer.text);
      longest = std::max(longest, offer.text.size());
    }
    sent_ += (size() - 1) * static_cast<int64_t>(longest);
    return texts;
  }

  at::Tensor all_gather(const at::Tensor& part) override {
    const Offers offers =
        meet({.operation = "all_gather", .tensor = copy_of(part)});
    std::vector<at::Tensor> parts;
    for (const Offer& offer : *offers) parts.push_back(offer.tensor);
    sent_ += (size() - 1) * static_cast<int64_t>(part.nbytes());
    return at::stack(parts);
  }

  at::Tensor all_to_all(const at::Tensor& rows) override {
    ANNULI_CHECK(rows.dim() > 0 && rows.size(0) == size(), "{} rows",
                 rows.dim() > 0 ? rows.size(0) : 0);
    const Offers offers =
        meet({.operation = "all_to_all", .tensor = copy_of(rows)});
    std::vector<at::Tensor> own;
    for (const Offer& offer : *offers) own.push_back(offer.tensor[rank_]);
    sent_ += static_cast<int64_t>(rows.nbytes()) / size() * (size() - 1);
    return at::stack(own);
  }

  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override {
    ANNULI_CHECK(std::ssize(to) == size(), "{} tensors", to.size());
    std::vector<at::Tensor> copies;
    for (int64_t rank = 0; rank < size(); ++rank) {
      ANNULI_CHECK(
          to[rank].dim() == 1 && to[rank].scalar_type() == to[0].scalar_type(),
          "{} dimensions for rank {}", to[rank].dim(), rank);
      copies.push_back(copy_of(to[rank]));
      if (rank != rank_) sent_ += static_cast<int64_t>(to[rank].nbytes());
    }
    const Offers offers =
        meet({.operation = "exchange", .pieces = std::move(copies)});
    std::vector<at::Tensor> come;
    for (int64_t rank = 0; rank < size(); ++rank) {
      come.push_back(rank == rank_ ? to[rank] : (*offers)[rank].pieces[rank_]);
    }
    return come;
  }

  void say_failed(int status, std::string_view text) noexcept override {
    meeting_.lose(status, fmt::format("rank {}: {}", rank_, text));
  }

 private:
  static at::Tensor copy_of(const at::Tensor& tensor) {
    return tensor.detach().contiguous().clone();
  }

  Offers meet(Offer offer) {
    const Offers offers = meeting_.meet(rank_, std::move(offer));
    for (const Offer& other : *offers) {
      ANNULI_CHECK(other.is_like(offers->front()), "{} beside {}",
                   other.operation, offers->front().operation);
    }
    return offers;
  }

  Meeting& meeting_;
  int64_t rank_;
  int64_t sent_ = 0;
};

}  // namespace

void run_together(int64_t processes,
                  const std::function<void(parallel::ProcessGroup&)>& work) {
  Meeting meeting(processes);
  std::mutex mutex;
  std::exception_ptr first;
  {
    std::vector<std::jthread> threads;
    for (int64_t rank = 0; rank < processes; ++rank) {
      threads.emplace_back([&, rank] {
        at::set_num_threads(1);
        const auto group = parallel::in_background(
            std::make_unique<ThreadGroup>(meeting, rank));
        try {
          work(*group);
        } catch (const std::exception& error) {
          const std::lock_guard lock(mutex);
          if (!first) first = std::current_exception();
          group->say_failed(2, error.what());
        }
      });
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace annuli::test

#include "annuli/parallel/background_group.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <exception>
#include <utility>

#include "annuli/core/worker.h"

namespace annuli::parallel {
namespace {

// LibTorch gives each thread the number of threads of the process when it first
// asks; after that this one's loops stay in it.
void use_one_core() {
  at::get_num_threads();
  omp_set_num_threads(1);
}

class BackgroundGroup final : public ProcessGroup {
 public:
  explicit BackgroundGroup(std::unique_ptr<ProcessGroup> group)
      : group_(std::move(group)) {
    worker_.post(use_one_core);
  }

  int64_t rank() const override { return group_->rank(); }
  int64_t size() const override { return group_->size(); }
  // In its turn, so that what is begun before is not said to belong to it.
  void work_at(std::string what) override {
    worker_.post([this, text = std::move(what)] { group_->work_at(text); });
  }
  int64_t bytes_sent() const override { return idle().bytes_sent(); }

  void barrier() override { idle().barrier(); }
  std::vector<std::string> gather(std::string_view text) override {
    return idle().gather(text);
  }
  at::Tensor all_gather(const at::Tensor& part) override {
    return idle().all_gather(part);
  }
  at::Tensor all_to_all(const at::Tensor& rows) override {
    return idle().all_to_all(rows);
  }
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override {
    return idle().exchange(to);
  }

  // What the operations hold is let go before who waits for them goes on.
  Begun begin(Operations operations) override {
    auto task = std::make_shared<std::packaged_task<void()>>(
        [this, given = std::move(operations)]() mutable {
          const Operations now = std::exchange(given, nullptr);
          now(*group_);
        });
    Begun begun(task->get_future());
    worker_.post([task] { (*task)(); });
    return begun;
  }

  void say_failed(int status, std::string_view text) noexcept override {
    try {
      idle();
    } catch (const std::exception&) {
      // Whatever it was, the others are to hear of this.
    }
    group_->say_failed(status, text);
  }

 private:
  ProcessGroup& idle() const {
    worker_.finish();
    return *group_;
  }

  std::unique_ptr<ProcessGroup> group_;
  mutable Worker worker_;  // last: it uses the group
};

}  // namespace

std::unique_ptr<ProcessGroup> in_background(
    std::unique_ptr<ProcessGroup> group) {
  return std::make_unique<BackgroundGroup>(std::move(group));
}

}  // namespace annuli::parallel

#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/parallel/process_group.h"

namespace annuli::test {

// Another group, whose watcher is told whenever something is begun.
class WatchedGroup final : public parallel::ProcessGroup {
 public:
  WatchedGroup(parallel::ProcessGroup& group, std::function<void()> begins)
      : group_(group), begins_(std::move(begins)) {}

  int64_t rank() const override { return group_.rank(); }
  int64_t size() const override { return group_.size(); }
  void work_at(std::string what) override { group_.work_at(std::move(what)); }
  void barrier() override { group_.barrier(); }
  std::vector<std::string> gather(std::string_view text) override {
    return group_.gather(text);
  }
  at::Tensor all_gather(const at::Tensor& part) override {
    return group_.all_gather(part);
  }
  at::Tensor all_to_all(const at::Tensor& rows) override {
    return group_.all_to_all(rows);
  }
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override {
    return group_.exchange(to);
  }
  parallel::Begun begin(parallel::Operations operations) override {
    begins_();
    return group_.begin(std::move(operations));
  }
  void say_failed(int status, std::string_view text) noexcept override {
    group_.say_failed(status, text);
  }
  int64_t bytes_sent() const override { return group_.bytes_sent(); }

 private:
  parallel::ProcessGroup& group_;
  std::function<void()> begins_;
};

}  // namespace annuli::test

#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/parallel/begun.h"

// The processes that share one run, seen from one of them.
//
// State: this process' number (its rank), how many there are, and what it works
// at, for the texts of errors.
//
// Guarantees: every operation is collective. All processes call the same
// operations in the same order; each returns when it has what it needs of the
// others. Results are the same in all runs and on all processes. Tensors may be
// of any type, layout and device: what is sent is made contiguous first, and
// what comes is on the device of what was sent. Different
// operations, types or shapes on two processes are found before anything is
// sent, and are a bug of ours (CheckFailure) on all of them.
//
// Errors: LostProcess if another process is gone, does not come within the
// timeout, or has said that it failed. After any error the group is dead; what
// is left is to end and to resume from disk.
//
// One process alone is a group too (solo.h): nothing is sent.
namespace annuli::parallel {

// Another process ended or does not answer. Its text names it and what this
// one waited for; `status` is what that process exits with, if it has said so,
// and otherwise 2.
class LostProcess : public std::runtime_error {
 public:
  LostProcess(int status, const std::string& text)
      : std::runtime_error(text), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

class ProcessGroup {
 public:
  virtual ~ProcessGroup() = default;

  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  // The first writes files and speaks.
  bool is_first() const { return rank() == 0; }

  // What is worked at from now on: "step 12 of phase moe".
  virtual void work_at(std::string what) = 0;

  // Returns when all have come.
  virtual void barrier() = 0;

  // The texts of all processes, in their order. Sizes may differ.
  virtual std::vector<std::string> gather(std::string_view text) = 0;

  // [N, ...]: `part` of every process, in their order; equal shapes.
  virtual at::Tensor all_gather(const at::Tensor& part) = 0;

  // Row r of `rows`, [N, ...], goes to process r; row r of the result has come
  // from process r.
  virtual at::Tensor all_to_all(const at::Tensor& rows) = 0;

  // `to[r]`, of one dimension, goes to process r; entry r of the result has
  // come from process r. Lengths may differ and be 0, types may not. What a
  // process gives to itself is not sent.
  virtual std::vector<at::Tensor> exchange(
      const std::vector<at::Tensor>& to) = 0;

  // Goes on with `operations` while the caller does something else, if the
  // group can; they use the group that they are given.
  virtual Begun begin(Operations operations) {
    return begin_now(*this, std::move(operations));
  }

  // Tells the others that this process ends with `status`, and why; they throw
  // LostProcess with both at their next operation or while they wait. Waits
  // for seconds at most and never throws.
  virtual void say_failed(int status, std::string_view text) noexcept = 0;

  // What this process has sent to others until now.
  virtual int64_t bytes_sent() const = 0;
};

}  // namespace annuli::parallel

#include "annuli/parallel/c10d_group.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/parallel/agreement.h"
#include "annuli/parallel/roll_call.h"

namespace annuli::parallel {
namespace {

using Gloo = c10d::ProcessGroupGloo;

// Gloo sends bytes, so that no type is unknown to it. A tensor of one entry is
// contiguous whatever its stride is, which a view of bytes is not.
at::Tensor as_bytes(const at::Tensor& contiguous) {
  return contiguous.detach()
      .as_strided({contiguous.numel()}, {1})
      .view(at::kByte);
}

// End to end; what goes to one process alone, as it is.
at::Tensor joined(const std::vector<at::Tensor>& bytes) {
  const auto is_filled = [](const at::Tensor& one) { return one.numel() > 0; };
  if (std::ranges::count_if(bytes, is_filled) != 1) return at::cat(bytes);
  return *std::ranges::find_if(bytes, is_filled);
}

// Gloo sends from the host's memory.
at::Tensor on_host(const at::Tensor& tensor) {
  return tensor.detach().cpu().contiguous();
}

// Without the place in Gloo's source that stands before it.
std::string reason(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  std::string text =
      of_torch ? of_torch->what_without_backtrace() : error.what();
  if (text.starts_with('[')) {
    if (const size_t end = text.find("] "); end != std::string::npos) {
      text.erase(0, end + 2);
    }
  }
  return one_line(text);
}

class C10dGroup final : public ProcessGroup {
 public:
  C10dGroup(std::shared_ptr<Board> board, const GroupOptions& options);

  int64_t rank() const override { return rank_; }
  int64_t size() const override { return size_; }
  void work_at(std::string what) override { work_ = std::move(what); }
  int64_t bytes_sent() const override { return sent_; }

  void barrier() override { agree({.kind = int64_t(Kind::kBarrier)}); }
  std::vector<std::string> gather(std::string_view text) override;
  at::Tensor all_gather(const at::Tensor& part) override;
  at::Tensor all_to_all(const at::Tensor& rows) override;
  std::vector<at::Tensor> exchange(const std::vector<at::Tensor>& to) override;
  void say_failed(int status, std::string_view text) noexcept override;

 private:
  std::vector<Agreement> agree(Agreement call);
  void agree(Kind kind, const at::Tensor& tensor);
  void gather_bytes(at::Tensor all, at::Tensor own);
  std::vector<int64_t> lengths_to_come(const std::vector<int64_t>& lengths);
  template <typename Start>
  void complete(const Start& start);
  [[noreturn]] void lose(const std::string& error);

  int64_t rank_;
  int64_t size_;
  RollCall roll_call_;
  c10::intrusive_ptr<Gloo> gloo_;  // null: the group is dead
  std::optional<LostProcess> lost_;
  std::string work_ = "the start";
  Agreement current_;
  int64_t sent_ = 0;
};

// Gloo writes each try to connect that fails to std::cerr, which nothing here
// uses; what it throws in the end says the same.
class WithoutCerr {
 public:
  WithoutCerr() : before_(std::cerr.rdbuf(nullptr)) {}
  ~WithoutCerr() {
    std::cerr.rdbuf(before_);
    std::cerr.clear();
  }
  WithoutCerr(const WithoutCerr&) = delete;
  WithoutCerr& operator=(const WithoutCerr&) = delete;

 private:
  std::streambuf* before_;
};

c10::intrusive_ptr<Gloo::Options> gloo_options(const GroupOptions& options) {
  auto made = Gloo::Options::create(options.start_timeout);
  made->threads = 1;
  made->devices.push_back(
      options.interface.empty()
          ? Gloo::createDeviceForHostname(options.address)
          : Gloo::createDeviceForInterface(options.interface));
  return made;
}

C10dGroup::C10dGroup(std::shared_ptr<Board> board, const GroupOptions& options)
    : rank_(options.rank),
      size_(options.size),
      roll_call_(board, options.rank, options.size) {
  try {
    const auto made = gloo_options(options);
    roll_call_.wait_for_all(options.start_timeout);
    const WithoutCerr quiet;
    gloo_ = c10::make_intrusive<Gloo>(board->store(), static_cast<int>(rank_),
                                      static_cast<int>(size_), made);
    // Who is connected may end while others still connect with it.
    agree({.kind = int64_t(Kind::kBarrier)});
    current_ = {};
    // Through the table of functions: Gloo's own part is in the library.
    static_cast<c10d::Backend&>(*gloo_).setTimeout(options.timeout);
  } catch (const UserError&) {
    throw;
  } catch (const LostProcess&) {
    throw;
  } catch (const std::exception& error) {
    throw LostProcess(
        kNotSaid,
        fmt::format(
            "connecting rank {} on {} with the other processes through "
            "{}: {}; can they reach each other there?",
            rank_, roll_call_.host(),
            options.interface.empty() ? options.address : options.interface,
            reason(error)));
  }
}

template <typename Start>
void C10dGroup::complete(const Start& start) {
  if (lost_) throw LostProcess(*lost_);
  ANNULI_CHECK(gloo_, "an operation after this process failed");
  try {
    start()->wait();
  } catch (const std::exception& error) {
    lose(reason(error));
  }
}

void C10dGroup::lose(const std::string& error) {
  roll_call_.say_lost();
  gloo_.reset();
  const Missing missing = roll_call_.find_missing(error);
  roll_call_.let_others_look();
  lost_.emplace(
      missing.status,
      fmt::format("rank {} on {} lost {} at {}, waiting in {}: {}", rank_,
                  roll_call_.host(),
                  missing.who.empty() ? "another process" : missing.who, work_,
                  name_of(Kind(current_.kind)), missing.cause));
  throw LostProcess(*lost_);
}

void C10dGroup::gather_bytes(at::Tensor all, at::Tensor own) {
  complete([&] { return gloo_->_allgather_base(all, own); });
}

std::vector<Agreement> C10dGroup::agree(Agreement call) {
  call.number = current_.number + 1;
  current_ = call;
  std::vector<Agreement> calls(size_);
  // Owned by tensors, for Gloo's thread may still hold them after a failure.
  const at::Tensor all = at::empty({size_ * kAgreementBytes}, at::kByte);
  const at::Tensor own = at::empty({kAgreementBytes}, at::kByte);
  std::memcpy(own.mutable_data_ptr(), &call, kAgreementBytes);
  gather_bytes(all, own);
  std::memcpy(calls.data(), all.const_data_ptr(), all.nbytes());
  const auto other = std::ranges::find_if(
      calls, [&](const Agreement& a) { return !a.same_call(calls[0]); });
  const bool all_alike = other == calls.end();
  if (!all_alike) gloo_.reset();
  ANNULI_CHECK(all_alike, "rank 0 is at {}, rank {} at {}", calls[0].text(),
               other - calls.begin(), other->text());
  return calls;
}

void C10dGroup::agree(Kind kind, const at::Tensor& tensor) {
  agree(agreement(kind, tensor));
}

std::vector<std::string> C10dGroup::gather(std::string_view text) {
  const std::vector<Agreement> calls = agree(
      {.kind = int64_t(Kind::kGather), .text_bytes = int64_t(text.size())});
  const int64_t longest =
      std::ranges::max(calls, {}, &Agreement::text_bytes).text_bytes;
  const at::Tensor all = at::empty({size_ * longest}, at::kByte);
  if (longest > 0) {
    const at::Tensor own = at::zeros({longest}, at::kByte);
    std::memcpy(own.mutable_data_ptr(), text.data(), text.size());
    gather_bytes(all, own);
    sent_ += (size_ - 1) * longest;
  }
  std::vector<std::string> texts;
  const auto* data = static_cast<const char*>(all.const_data_ptr());
  for (int64_t i = 0; i < size_; ++i) {
    texts.emplace_back(longest > 0 ? data + i * longest : "",
                       calls[i].text_bytes);
  }
  return texts;
}

at::Tensor C10dGroup::all_gather(const at::Tensor& part) {
  agree(Kind::kAllGather, part);
  const at::Tensor own = on_host(part);
  std::vector<int64_t> shape = {size_};
  shape.insert(shape.end(), own.sizes().begin(), own.sizes().end());
  at::Tensor all = at::empty(shape, own.options());
  if (own.numel() > 0) gather_bytes(as_bytes(all), as_bytes(own));
  sent_ += (size_ - 1) * static_cast<int64_t>(own.nbytes());
  return all.to(part.device());
}

at::Tensor C10dGroup::all_to_all(const at::Tensor& rows) {
  ANNULI_CHECK(rows.dim() > 0 && rows.size(0) == size_,
               "{} rows for {} processes", rows.dim() > 0 ? rows.size(0) : 0,
               size_);
  agree(Kind::kAllToAll, rows);
  const at::Tensor own = on_host(rows);
  at::Tensor others = at::empty(own.sizes(), own.options());
  if (own.numel() > 0) {
    at::Tensor from = as_bytes(own);
    at::Tensor to = as_bytes(others);
    std::vector<int64_t> equal;
    complete([&] { return gloo_->alltoall_base(to, from, equal, equal); });
  }
  sent_ += static_cast<int64_t>(own.nbytes()) / size_ * (size_ - 1);
  return others.to(rows.device());
}

// Of what each process has for this one.
std::vector<int64_t> C10dGroup::lengths_to_come(
    const std::vector<int64_t>& lengths) {
  const at::Tensor own = at::tensor(lengths, at::kLong);
  const at::Tensor all = at::empty({size_, size_}, at::kLong);
  gather_bytes(as_bytes(all), as_bytes(own));
  const at::Tensor column = all.select(1, rank_).contiguous();
  const auto* data = column.const_data_ptr<int64_t>();
  return {data, data + size_};
}

std::vector<at::Tensor> C10dGroup::exchange(const std::vector<at::Tensor>& to) {
  ANNULI_CHECK(std::ssize(to) == size_, "tensors for {} processes", to.size());
  agree({.kind = int64_t(Kind::kExchange),
         .type = static_cast<int64_t>(to[0].scalar_type())});
  std::vector<at::Tensor> bytes;
  std::vector<int64_t> lengths;
  for (int64_t rank = 0; rank < size_; ++rank) {
    ANNULI_CHECK(
        to[rank].dim() == 1 && to[rank].scalar_type() == to[0].scalar_type(),
        "what goes to rank {} is {} of {} dimensions", rank,
        c10::toString(to[rank].scalar_type()), to[rank].dim());
    bytes.push_back(rank == rank_ ? at::empty({0}, at::kByte)
                                  : as_bytes(on_host(to[rank])));
    lengths.push_back(bytes.back().numel());
  }
  const std::vector<int64_t> to_come = lengths_to_come(lengths);
  at::Tensor from = joined(bytes);
  at::Tensor all = at::empty(
      {std::accumulate(to_come.begin(), to_come.end(), int64_t{0})}, at::kByte);
  // Gloo takes both lists away.
  std::vector<int64_t> counts = to_come;
  complete([&] { return gloo_->alltoall_base(all, from, counts, lengths); });
  sent_ += from.numel();
  std::vector<at::Tensor> come;
  int64_t begin = 0;
  for (int64_t rank = 0; rank < size_; ++rank) {
    const at::Tensor piece = all.narrow(0, begin, to_come[rank]);
    begin += to_come[rank];
    come.push_back(rank == rank_
                       ? to[rank]
                       : piece.view(to[0].scalar_type()).to(to[rank].device()));
  }
  return come;
}

void C10dGroup::say_failed(int status, std::string_view text) noexcept {
  if (lost_ || !gloo_) return;  // another one failed before
  try {
    roll_call_.say_failed(status, text);
    gloo_.reset();
    roll_call_.let_others_look();
  } catch (const std::exception&) {
    // The others find out by their timeout.
  }
}

}  // namespace

void quiet_c10d() {
  ::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", /*overwrite=*/0);
  c10::initLogging();
}

std::unique_ptr<ProcessGroup> c10d_group(std::shared_ptr<Board> board,
                                         const GroupOptions& options) {
  return std::make_unique<C10dGroup>(std::move(board), options);
}

}  // namespace annuli::parallel

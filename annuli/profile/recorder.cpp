#include "annuli/profile/recorder.h"

#include <ATen/core/ivalue.h>
#include <ATen/record_function.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::profile {
namespace {

// LibTorch's callbacks are plain functions, so what they write to is global.
std::mutex mutex;
Recording* recording = nullptr;  // guarded by the mutex
int recording_number = 0;        // so that a thread knows a new recording

int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

struct OpenEvent : at::ObserverContext {
  Event event;
};

EventKind kind_of(at::RecordScope scope) {
  switch (scope) {
    case at::RecordScope::USER_SCOPE:
      return EventKind::kScope;
    case at::RecordScope::BACKWARD_FUNCTION:
      return EventKind::kBackwardNode;
    default:
      return EventKind::kOperator;
  }
}

// Where the factors of a product stand among an operator's arguments; -1 if it
// is no product.
int first_factor(std::string_view name) {
  if (name == "aten::mm" || name == "aten::bmm" || name == kProduct) return 0;
  if (name == "aten::addmm" || name == "aten::baddbmm") return 1;
  if (name == "aten::addmm_") return 1;
  return -1;
}

const char* word_of(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
      return "fp32";
    case at::kDouble:
      return "fp64";
    case at::kBFloat16:
      return "bf16";
    default:
      return "other";
  }
}

void note_product(const at::RecordFunction& function, Event& event) {
  const int first = first_factor(event.name);
  const auto inputs = function.inputs();
  if (first < 0 || std::ssize(inputs) < first + 2) return;
  if (!inputs[first].isTensor() || !inputs[first + 1].isTensor()) return;
  const at::Tensor& a = inputs[first].toTensor();
  const at::Tensor& b = inputs[first + 1].toTensor();
  if (a.dim() < 2 || b.dim() != a.dim()) return;
  event.product = {.m = a.size(-2),
                   .k = a.size(-1),
                   .n = b.size(-1),
                   .batch = a.dim() == 3 ? a.size(0) : 1};
  event.dtype = word_of(a.scalar_type());
}

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction& function) {
  auto open = std::make_unique<OpenEvent>();
  open->event.name = function.name();
  open->event.kind = kind_of(function.scope());
  note_product(function, open->event);
  open->event.begin = now();
  return open;
}

std::string name_of_this_thread() {
  if (::gettid() == ::getpid()) return "main";
  char name[32] = "";
  ::pthread_getname_np(::pthread_self(), name, sizeof name);
  return name;
}

// With the mutex held.
int index_of_this_thread() {
  thread_local int index = 0;
  thread_local int known_by = 0;
  if (known_by != recording_number) {
    known_by = recording_number;
    index = static_cast<int>(recording->threads.size());
    recording->threads.push_back(name_of_this_thread());
  }
  return index;
}

void end(const at::RecordFunction&, at::ObserverContext* context) {
  Event& event = static_cast<OpenEvent*>(context)->event;
  event.end = now();
  const std::lock_guard lock(mutex);
  if (recording == nullptr) return;
  event.thread = index_of_this_thread();
  recording->events.push_back(std::move(event));
}

}  // namespace

Recorder::Recorder() {
  {
    const std::lock_guard lock(mutex);
    ANNULI_CHECK(recording == nullptr, "a recorder is running already");
    recording = new Recording;
    ++recording_number;
  }
  handle_ =
      at::addGlobalCallback(at::RecordFunctionCallback(begin, end)
                                .needsInputs(true)
                                .scopes({at::RecordScope::FUNCTION,
                                         at::RecordScope::BACKWARD_FUNCTION,
                                         at::RecordScope::USER_SCOPE}));
}

Recorder::~Recorder() {
  if (running_) finish();
}

Recording Recorder::finish() {
  ANNULI_CHECK(running_, "a recording that was not begun");
  running_ = false;
  at::removeCallback(handle_);
  const std::lock_guard lock(mutex);
  const std::unique_ptr<Recording> whole(std::exchange(recording, nullptr));
  return std::move(*whole);
}

}  // namespace annuli::profile

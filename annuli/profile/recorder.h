#pragma once

#include <cstdint>
#include <string>
#include <vector>

// What the process computes while a recorder lives: every LibTorch operator,
// every node of a backward pass, and what our own code marks with
// RECORD_USER_SCOPE (ATen/record_function.h), on all threads.
//
// Guarantees: events of one thread nest: of two, one contains the other or they
// do not touch. Without a recorder a mark costs a look at a thread-local
// variable, and results are the same bits with one and without. One recorder at
// a time.
namespace annuli::profile {

enum class EventKind { kOperator, kBackwardNode, kScope };

// dims [m, k] x [k, n] of a matrix product; all 0 for anything else.
struct ProductShape {
  int64_t m = 0;
  int64_t k = 0;
  int64_t n = 0;
  int64_t batch = 0;  // products of this shape in one call
  bool operator==(const ProductShape&) const = default;
  auto operator<=>(const ProductShape&) const = default;
};

// The name of a scope around a product that is none of LibTorch's operators;
// its inputs are the two factors.
inline constexpr const char* kProduct = "product";

struct Event {
  std::string name;
  EventKind kind = EventKind::kScope;
  std::string dtype;     // of a matrix product: "fp32", "bf16"
  ProductShape product;  // of a matrix product
  int64_t begin = 0;     // ns of the steady clock
  int64_t end = 0;
  int thread = 0;  // index of `Recording::threads`
};

struct Recording {
  std::vector<Event> events;         // in the order of their ends
  std::vector<std::string> threads;  // names; "main" is the process's first
};

class Recorder {
 public:
  Recorder();
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  // Ends the recording. Whatever is open then is left out.
  Recording finish();

 private:
  uint64_t handle_;
  bool running_ = true;
};

}  // namespace annuli::profile

#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace c10d {
class Store;
}

// Short texts under names, which all processes of a run can read: a store of
// c10d with an end to each wait.
//
// State: the store, and whether it still answers. Once an answer has not come
// within the limit (its server is gone or stopped) or has been an error,
// nothing is asked any more: `read` gives nothing, `write` does nothing.
// Not for several threads.
namespace annuli::parallel {

class Board {
 public:
  // `place` is for texts of errors: "127.0.0.1:29500". What is `served_here`
  // ends with this process.
  Board(c10::intrusive_ptr<c10d::Store> store, std::string place,
        bool served_here, std::chrono::milliseconds limit);
  ~Board();

  // What was written last; nothing if none was yet, or without an answer.
  std::optional<std::string> read(const std::string& name);
  void write(const std::string& name, const std::string& text);
  // How often this name has been counted, by all, with this time; 0 without an
  // answer.
  int64_t count(const std::string& name);

  // Asks from now on wait so long.
  void answer_within(std::chrono::milliseconds limit) { limit_ = limit; }
  bool answers() const { return answers_; }
  bool served_here() const { return served_here_; }
  const std::string& place() const { return place_; }
  const c10::intrusive_ptr<c10d::Store>& store() const { return store_; }

 private:
  void within_limit(std::function<void()> ask);

  c10::intrusive_ptr<c10d::Store> store_;
  std::string place_;
  bool served_here_;
  std::chrono::milliseconds limit_;
  bool answers_ = true;
};

// Runs `work` in a thread of its own. False if it is not done in time: the
// thread then goes on, so that `work` may hold nothing but what it owns. What
// it throws is thrown.
bool done_within(std::chrono::milliseconds limit, std::function<void()> work);

}  // namespace annuli::parallel

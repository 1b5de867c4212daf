#include "annuli/python/library.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/python/memory_growth.h"

namespace annuli::python {
namespace {

// The growths that are under way, by number.
class Growths {
 public:
  int64_t add(std::unique_ptr<MemoryGrowth> growth) {
    const std::lock_guard lock(mutex_);
    growths_.emplace(++last_, std::move(growth));
    return last_;
  }
  MemoryGrowth& at(int64_t number) {
    const std::lock_guard lock(mutex_);
    return *growths_.at(number);
  }
  void remove(int64_t number) {
    const std::lock_guard lock(mutex_);
    growths_.erase(number);
  }

 private:
  std::mutex mutex_;
  std::map<int64_t, std::unique_ptr<MemoryGrowth>> growths_;
  int64_t last_ = 0;
};

Growths& growths() {
  static Growths all;
  return all;
}

Json open(const Json& call) {
  auto growth = std::make_unique<MemoryGrowth>(call);
  Json answer = growth->plan();
  answer["growth"] = growths().add(std::move(growth));
  return answer;
}

Json result_of(const Json& call) {
  const at::NoGradGuard no_grad;
  const auto verb = call.at("do").get<std::string>();
  if (verb == "open") return open(call);
  const auto number = call.at("growth").get<int64_t>();
  if (verb == "close") {
    growths().remove(number);
    return nullptr;
  }
  MemoryGrowth& growth = growths().at(number);
  if (verb == "lay_out") return growth.lay_out(call.at("tensors"));
  if (verb == "make") return growth.make(call.at("row"));
  if (verb == "prove") return growth.prove(call);
  if (verb == "record") return growth.record(call.at("verdicts"));
  if (verb == "place") {
    growth.place(call);
  } else {
    ANNULI_CHECK(verb == "look", "a call is {}", verb);
    growth.look(call);
  }
  return nullptr;
}

Json failure(const char* kind, std::string line) {
  std::ranges::replace(line, '\n', ' ');
  return {{"error", kind}, {"line", line}};
}

Json answer_to(const char* call) {
  try {
    return {{"result", result_of(Json::parse(call))}};
  } catch (const UserError& error) {
    return failure("user", error.what());
  } catch (const VerdictError& error) {
    return failure("verdict", error.what());
  } catch (const std::bad_alloc&) {
    return failure("user", "growing in memory: out of memory");
  } catch (const c10::Error& error) {
    return failure("bug", error.what_without_backtrace());
  } catch (const std::exception& error) {
    return failure("bug", error.what());
  }
}

}  // namespace
}  // namespace annuli::python

char* annuli_call(const char* call) {
  const std::string text = annuli::python::answer_to(call).dump();
  char* answer = new char[text.size() + 1];
  std::memcpy(answer, text.c_str(), text.size() + 1);
  return answer;
}

void annuli_free(char* answer) { delete[] answer; }

#include "annuli/parallel/board.h"

#include <future>
#include <thread>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>
#include <vector>

namespace annuli::parallel {

bool done_within(std::chrono::milliseconds limit, std::function<void()> work) {
  std::packaged_task<void()> task(std::move(work));
  std::future<void> done = task.get_future();
  std::thread(std::move(task)).detach();
  if (done.wait_for(limit) != std::future_status::ready) return false;
  done.get();
  return true;
}

Board::Board(c10::intrusive_ptr<c10d::Store> store, std::string place,
             bool served_here, std::chrono::milliseconds limit)
    : store_(std::move(store)),
      place_(std::move(place)),
      served_here_(served_here),
      limit_(limit) {}

Board::~Board() = default;

void Board::within_limit(std::function<void()> ask) {
  if (!answers_) return;
  try {
    answers_ = done_within(limit_, std::move(ask));
  } catch (const std::exception&) {
    answers_ = false;
  }
}

std::optional<std::string> Board::read(const std::string& name) {
  auto found = std::make_shared<std::optional<std::string>>();
  within_limit([store = store_, name, found] {
    if (store->check({name})) *found = store->get_to_str(name);
  });
  if (!answers_) return std::nullopt;
  return *found;
}

void Board::write(const std::string& name, const std::string& text) {
  within_limit([store = store_, name, text] { store->set(name, text); });
}

int64_t Board::count(const std::string& name) {
  auto times = std::make_shared<int64_t>(0);
  within_limit([store = store_, name, times] { *times = store->add(name, 1); });
  return answers_ ? *times : 0;
}

}  // namespace annuli::parallel

#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

// What came of the faults, for each kind.
namespace annuli::faults {

struct Result {
  int injected = 0;    // faults that came; 0 where the program met none
  std::string lost{};  // what is wrong afterwards; "" if all survived
};

// Takes results from several threads.
class Tally {
 public:
  // `commands` repeat the case; they are kept if it lost.
  void add(const std::string& kind, const Result& result,
           const std::vector<std::string>& commands);
  // A kind that could not be tried, and why.
  void skip(const std::string& kind, const std::string& why);

  int lost() const;
  // Faults of this kind that came; 0 if none was tried.
  int injected(const std::string& kind) const;
  std::vector<std::string> kinds() const;

  // One line for each kind, a total, which kinds found no occasion, then each
  // lost case.
  std::string text() const;

 private:
  struct Row {
    int injected = 0;
    int lost = 0;
  };
  mutable std::mutex mutex_;
  std::vector<std::string> order_;  // of kinds, as they came
  std::map<std::string, Row> rows_;
  std::vector<std::string> notes_;
  std::vector<std::string> losses_;
};

}  // namespace annuli::faults

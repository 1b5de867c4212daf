#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

// What a .tiktoken file leaves to the program that reads it.
namespace annuli {

struct TiktokenKind {
  std::string name;
  size_t tokens = 0;  // by which it is known
  std::string pattern;
  bool normalize_nfc = false;
  std::vector<std::pair<std::string, int32_t>> special;
  std::optional<int32_t> begin;
};

const std::vector<TiktokenKind>& tiktoken_kinds();

}  // namespace annuli

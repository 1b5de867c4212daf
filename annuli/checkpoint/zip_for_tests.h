#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/zip_directory.h"

// Archives made by hand, for tests and for the fuzzer's seeds.
namespace annuli::test {

template <typename T>
std::string number(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

using ZipMembers = std::vector<std::pair<std::string, std::string>>;

// A plain (not ZIP64) archive of stored members, as any zip tool makes.
inline std::string make_zip(const ZipMembers& members, uint16_t method = 0) {
  std::string zip;
  std::string directory;
  for (const auto& [name, data] : members) {
    const uint32_t crc = crc32_of(std::as_bytes(std::span(data)));
    const auto size = static_cast<uint32_t>(data.size());
    const std::string common =
        number<uint16_t>(0) + number(method) + number<uint32_t>(0) +
        number(crc) + number(size) + number(size) +
        number(static_cast<uint16_t>(name.size())) + number<uint16_t>(0);
    directory += "PK\1\2" + number<uint16_t>(20) + number<uint16_t>(20) +
                 common + number<uint16_t>(0) + number<uint32_t>(0) +
                 number<uint32_t>(0) +
                 number(static_cast<uint32_t>(zip.size())) + name;
    zip += "PK\3\4" + number<uint16_t>(20) + common + name + data;
  }
  const auto begin = static_cast<uint32_t>(zip.size());
  const auto count = static_cast<uint16_t>(members.size());
  return zip + directory + "PK\5\6" + number<uint32_t>(0) + number(count) +
         number(count) + number(static_cast<uint32_t>(directory.size())) +
         number(begin) + number<uint16_t>(0);
}

}  // namespace annuli::test

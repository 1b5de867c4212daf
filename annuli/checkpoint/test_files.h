#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "annuli/checkpoint/zip_directory.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"

// What the tests of files share.
namespace annuli::test {

// An empty folder of the running test's own, removed at the end.
class TestFolder {
 public:
  TestFolder() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = fs::path(testing::TempDir()) / fmt::format("annuli-{}-{}-{}",
                                                       info->test_suite_name(),
                                                       info->name(), getpid());
    fs::remove_all(path_);
    fs::create_directories(path_);
  }
  ~TestFolder() { fs::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Writes without a sync: for the thousands of damaged files.
inline void write_raw(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

// The text of the UserError that `action` throws; "" if it throws none.
template <typename Action>
std::string user_error_of(Action&& action) {
  try {
    action();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

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

// Same type, shape and bits.
inline bool identical(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a, b);
}

}  // namespace annuli::test

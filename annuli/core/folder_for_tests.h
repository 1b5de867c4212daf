#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

// For tests, which run side by side: each has files of its own.
namespace annuli::test {

// An empty folder that no other one uses, removed at the end with all in it.
class TestFolder {
 public:
  TestFolder() {
    std::string name =
        std::filesystem::temp_directory_path() / "annuli-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error(name);
    path_ = name;
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const {
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

  // A file in it; without a sync, for tests that write thousands.
  std::filesystem::path write(const std::string& name,
                              std::string_view content) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace annuli::test

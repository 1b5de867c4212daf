// Which files ask for a tensor's device and read its memory: read from the
// sources, since a test that runs sees only the paths that it takes.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

namespace annuli::test {
namespace {

namespace fs = std::filesystem;

const fs::path kRoot = fs::path(ANNULI_SOURCE_DIR) / "annuli";

bool ends_with(const std::string& name, const std::string& end) {
  return name.size() >= end.size() &&
         name.compare(name.size() - end.size(), end.size(), end) == 0;
}

// Product files that hold one of the texts, relative to annuli/.
std::set<std::string> files_with(const std::vector<std::string>& texts) {
  std::set<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot)) {
    const std::string name = fs::relative(entry.path(), kRoot).string();
    const bool source = ends_with(name, ".cpp") || ends_with(name, ".h");
    if (!source || ends_with(name, "_test.cpp")) continue;
    std::ifstream file(entry.path());
    const std::string all(std::istreambuf_iterator<char>(file), {});
    for (const std::string& text : texts) {
      if (all.find(text) != std::string::npos) found.insert(name);
    }
  }
  return found;
}

TEST(Seams, OneFileAsksForATensorsDevice) {
  EXPECT_EQ(files_with({"is_cpu()", "is_cuda()", "is_privateuseone()"}),
            std::set<std::string>{"kernels/dispatch.h"});
}

// Whoever else reads memory says in its header that it is the host's.
TEST(Seams, MemoryIsReadWhereItIsTheHosts) {
  const std::set<std::string> known = {
      // Readers and writers of files.
      "checkpoint/content_hash.cpp", "checkpoint/mapped_tensors.cpp",
      "checkpoint/pt_writer.cpp", "checkpoint/safetensors_writer.cpp",
      "verify/window_file.cpp", "gguf/decode.cpp", "gguf/encode.cpp",
      // Ids that are drawn into memory of the host.
      "verify/random_probe.cpp",
      // What is sent to other processes is brought to the host first.
      "parallel/c10d_group.cpp", "model/shared_work.cpp",
      // So is what is measured of weights, and what a router reads.
      "train/weight_sample.cpp", "verify/selection_audit.cpp",
      "grow/router_centroids.cpp",
      // Borders of documents are the host's.
      "kernels/documents.cpp",
      // It passes from one storage to another, and is not read.
      "kernels/memory/lent_memory.cpp",
      // Growth makes rows on the host, to store them or to send them on.
      "grow/apply.cpp", "grow/cancelling_noise.cpp", "grow/copied_rows.cpp",
      "grow/optimizer_state.cpp", "grow/replay.cpp", "grow/row_source.cpp",
      "grow/transforms/drop.cpp", "python/memory_growth.cpp",
      // Codes of 8 bits are the host's alone.
      "kernels/reference/quantize/block_quantization.cpp",
      "kernels/reference/quantize/weight_codes.cpp"};
  const std::set<std::string> found = files_with({"data_ptr"});
  for (const std::string& name : known) {
    EXPECT_TRUE(found.contains(name)) << name << " reads no memory any more";
  }
  for (const std::string& name : found) {
    if (name.starts_with("kernels/cpu/")) continue;
    // Decoding reads weights from memory or a mapped file, row by row.
    if (name.starts_with("generate/")) continue;
    EXPECT_TRUE(known.contains(name)) << name << " reads a tensor's memory";
  }
}

// A file of cpu/ or reference/ belongs to an operation of its name, or is a
// part of such files that has a header of its own.
TEST(Seams, KernelsHaveEqualNames) {
  const fs::path kernels = kRoot / "kernels";
  for (const fs::path& folder : {kernels / "cpu", kernels / "reference"}) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!ends_with(name, ".cpp") || ends_with(name, "_test.cpp")) continue;
      if (name == "mkl_dispatch.cpp") continue;  // a symbol for the linker
      const fs::path below =
          fs::relative(entry.path(), folder).replace_extension("");
      const auto stands = [&](const fs::path& path, const char* extension) {
        return fs::exists(fs::path(path).replace_extension(extension));
      };
      EXPECT_TRUE(stands(kernels / below, ".h") ||
                  stands(kernels / below, ".cpp") ||
                  stands(folder / below, ".h"))
          << entry.path() << " belongs to no operation";
    }
  }
}

}  // namespace
}  // namespace annuli::test

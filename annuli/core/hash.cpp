#include "annuli/core/hash.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "annuli/core/error.h"

namespace annuli {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  const int ok = EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr);
  ANNULI_CHECK(ok == 1, "SHA-256 is not available");
}

Sha256::~Sha256() = default;

void Sha256::update(const void* data, size_t size) {
  ANNULI_CHECK(state_ != nullptr, "the hash has ended");
  ANNULI_CHECK(EVP_DigestUpdate(state_->context, data, size) == 1,
               "hashing {} bytes", size);
}

std::string Sha256::hex() {
  ANNULI_CHECK(state_ != nullptr, "the hash has ended");
  std::array<unsigned char, 32> digest = {};
  ANNULI_CHECK(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr) == 1,
               "ending a hash");
  state_.reset();
  std::string text;
  for (unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

std::string sha256_of(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

// Read, not mapped: mapped pages would count as the process's memory.
std::string sha256_of_file(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "rbe"), &std::fclose);
  if (!file) {
    user_error("hashing {}: {}", path.string(), std::strerror(errno));
  }
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (const size_t got =
             std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    hash.update(buffer.data(), got);
  }
  if (std::ferror(file.get())) {
    user_error("hashing {}: {}", path.string(), std::strerror(errno));
  }
  return hash.hex();
}

}  // namespace annuli

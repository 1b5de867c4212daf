#pragma once

#include <filesystem>
#include <string>

// The run of plans/tiny.yaml that the tests look at, with a checkpoint right
// after every growth.
namespace annuli::test {

// Its folder. The first test that asks makes it, whichever process that is;
// it is made anew for a new program.
const std::filesystem::path& tiny_run();

// "dense_model.pt", "moe_init.pt", "moe_model_final.pt", "medium_init.pt",
// "medium_moe_final.pt", "large_init.pt" or "large_moe_final.pt".
std::string tiny_checkpoint(const std::string& name);

}  // namespace annuli::test

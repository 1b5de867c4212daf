// What becomes of `annuli run` and `annuli grow` when they are killed, when
// calls fail, disks are full, files change, memory ends, folders vanish, and
// the clock jumps:
//
//   build/annuli_faults [--kills N] [--growth-kills N] [--each N] [--seed S]
//                       [--only KIND] [--plan PLAN] [--work DIR]
//
// Prints for each kind of fault how many were injected, survived and lost, and
// for each lost case why, and the commands that repeat it. Exit status 1 if
// anything was lost. A fault is survived if the program ended as it may and the
// next start, without a fault, ends as if there had been none, bit for bit.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <stdexcept>

#include "tests/faults/cases.h"

namespace annuli::faults {
namespace {

int try_all(const Order& order, const std::string& plan, const fs::path& work) {
  // It is removed at the end.
  if (fs::exists(work) && !fs::is_empty(work)) {
    throw std::runtime_error(work.string() + " is not empty");
  }
  fs::create_directories(work);
  const fs::path root = fs::canonical(work);
  Scenes scenes(plan, root);
  Tally tally;
  try_cases(collect_cases(order, scenes, tally), root, tally);
  fmt::print("{}", tally.text());
  if (tally.lost() == 0) {
    fs::remove_all(root);
    return 0;
  }
  fmt::print("\nkept: {}\n", root.string());
  return 1;
}

int run(int argc, char** argv) {
  Order order{.kills = 500,
              .growth_kills = 200,
              .quick_kills = 8,
              .damages = 100,
              .each = 20};
  std::string plan = "plans/tiny.yaml";
  std::string work = work_folder().string();
  CLI::App app{"Faults, and what becomes of the program.", "annuli_faults"};
  app.add_option("--kills", order.kills, "kills in training")
      ->capture_default_str();
  app.add_option("--growth-kills", order.growth_kills, "kills in growth")
      ->capture_default_str();
  app.add_option("--quick-kills", order.quick_kills, "in plans/quick.yaml")
      ->capture_default_str();
  app.add_option("--damages", order.damages, "cut files, and flipped bytes")
      ->capture_default_str();
  app.add_option("--each", order.each, "faults of each other kind")
      ->capture_default_str();
  app.add_option("--seed", order.seed, "where they come")
      ->capture_default_str();
  app.add_option("--only", order.only, "kinds whose name contains this");
  app.add_option("--plan", plan, "what is trained")->capture_default_str();
  app.add_option("--work", work,
                 "new folder for the cases; kept if one is lost")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return try_all(order, plan, work);
}

}  // namespace
}  // namespace annuli::faults

int main(int argc, char** argv) {
  try {
    return annuli::faults::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "annuli_faults: {}\n", error.what());
    return 2;
  }
}

#include <fmt/core.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "annuli/cli/command_inputs.h"
#include "annuli/cli/commands.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/input_paths.h"
#include "annuli/core/text.h"
#include "annuli/core/tilde.h"
#include "annuli/report/markdown_report.h"
#include "annuli/report/page.h"
#include "annuli/report/run_data.h"
#include "annuli/report/tensorboard.h"

namespace annuli::cli {
namespace {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string out;
  std::string tensorboard;
  bool markdown = false;
};

// Not behind a link, and nothing that would wait for a writer.
bool is_our_page(const fs::path& path) {
  if (fs::is_symlink(path) || !is_file(path)) return false;
  std::ifstream file(path, std::ios::binary);
  std::string beginning(256, '\0');
  file.read(beginning.data(), std::ssize(beginning));
  return report::is_html_page(beginning);
}

// What can be told before a long history is read.
void check_page(const ReportOptions& options) {
  if (options.out.empty()) {
    user_error(
        "--out: found no name, expected that of a page like report.html");
  }
  refuse_tilde(options.out, "writing the page");
  InputPaths inputs;
  for (const std::string& run : options.runs) {
    for (const fs::path& file : report::files_of_run(run)) {
      inputs.add("the run's file", file);
    }
  }
  if (fs::is_character_file(options.out)) {
    user_error("writing the page {}: it is a device, expected a file",
               options.out);
  }
  check_output_file("writing the page", options.out, inputs,
                    [&] { return is_our_page(options.out); });
}

void check_events(const ReportOptions& options) {
  if (options.runs.size() > 1) {
    user_error(
        "--tensorboard: found {} runs, expected one; call the command once for "
        "each, with a folder of its own",
        options.runs.size());
  }
  refuse_tilde(options.tensorboard, "writing events");
  report::check_tensorboard(options.runs.front(), options.tensorboard);
}

// With `markdown` standard output has nothing else, so that it can be piped.
void tell(const ReportOptions& options, const std::string& line) {
  fmt::print(options.markdown ? stderr : stdout, "{}\n", line);
}

void tell_if_torn(const ReportOptions& options, const Json& data) {
  for (const Json& run : data.at("runs")) {
    if (!run.at("torn").get<bool>()) continue;
    tell(options,
         fmt::format("the last line of {}'s history is cut: a run is writing "
                     "it, or was killed; what stands before is shown",
                     run.at("folder").get<std::string>()));
  }
}

void write_page(const ReportOptions& options, const Json& data) {
  const std::string page = report::html_page(data);
  write_file_atomically(options.out, page);
  tell(options,
       fmt::format("wrote {} ({}): {} run{}", options.out,
                   format_bytes(static_cast<double>(page.size())),
                   options.runs.size(), options.runs.size() == 1 ? "" : "s"));
}

void write_events(const ReportOptions& options) {
  const int64_t steps =
      report::write_tensorboard(options.runs.front(), options.tensorboard);
  tell(options, fmt::format("wrote the events of {} steps into {}", steps,
                            options.tensorboard));
}

void report_runs(const ReportOptions& options, const CLI::App& command) {
  const bool page = command.count("--out") > 0;
  const bool events = command.count("--tensorboard") > 0;
  if (!page && !events && !options.markdown) {
    user_error(
        "reporting: found no output, expected --out, --markdown or "
        "--tensorboard");
  }
  check_runs("reporting", options.runs);
  if (page) check_page(options);
  if (events) check_events(options);
  if (page || options.markdown) {
    const Json data =
        report::page_data({options.runs.begin(), options.runs.end()});
    tell_if_torn(options, data);
    if (page) write_page(options, data);
    if (options.markdown) fmt::print("{}", report::markdown_report(data));
  }
  if (events) write_events(options);
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command = app.add_subcommand(
      "report", "Make a page of a run, or of several beside each other");
  command
      ->add_option("runs", options->runs,
                   "Folders of runs, finished or not; they are only read")
      ->required();
  command->add_option(
      "--out", options->out,
      "HTML file to write, which opens in any browser without a "
      "network; only a page of this command is replaced");
  command->add_flag(
      "--markdown", options->markdown,
      "Print a report in words and tables, in Markdown, for a pull request");
  command->add_option(
      "--tensorboard", options->tensorboard,
      "Folder to write, new or empty: an event file for TensorBoard with all "
      "figures of each step, expert load, samples and the plan");
  command->footer(
      "Examples:\n  annuli report runs/quick --out quick.html\n"
      "  annuli report runs/seed runs/try --out both.html\n"
      "  annuli report runs/quick --markdown > quick.md\n"
      "  annuli report runs/quick --tensorboard runs/quick-events");
  command->callback([options, command] { report_runs(*options, *command); });
}

}  // namespace annuli::cli

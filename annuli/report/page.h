#pragma once

#include <string>
#include <string_view>

#include "annuli/core/json.h"

// The page of runs: one HTML file that asks for nothing else.
//
// It is `annuli/report/page/page.html` with the styles, D3's modules, our
// scripts and the data put into their places, all at build time but the data.
// Nothing in the data can end the element that it stands in, and the scripts
// show it as text only.
namespace annuli::report {

// Of `page_data`.
std::string html_page(const Json& data);

// The same for a server: it asks the server that it came from for what is new,
// and for nothing else. `data` has the key "live" besides (docs/formats.md).
std::string served_page(const Json& data);

// What that page may do, as the value of Content-Security-Policy.
std::string served_page_policy();

// Whether a file begins as those pages do.
bool is_html_page(std::string_view beginning);

}  // namespace annuli::report

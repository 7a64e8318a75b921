#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sim/validation/accuracy.h"
#include "sim/validation/goals.h"

// Private to the writers of a comparison: what several formats show alike.

namespace moesim {

/// "at most 5 %", "75 to 85 %"; and what was reached of it, in the same unit.
[[nodiscard]] std::string goal_text(const GoalCheck& check);
[[nodiscard]] std::string reached_text(const GoalCheck& check);
/// "met", or "missed" and what the fit knows of why: the curve misses it in sample too (steps or
/// noise that the table does not resolve), it has too few shapes to leave some out, or it meets the
/// goal on shapes it has seen only. "" without a goal.
[[nodiscard]] std::string verdict(const LeftOutCurve& curve);

/// That the user stopped, and what that leaves out; "" if not.
[[nodiscard]] std::string interruption(const Validation& validation);

/// "source/moe": the parts of "all/moe", in the JSON only.
[[nodiscard]] bool is_part_of_source(const std::string& name);

/// Rows by reason, in order of first appearance.
struct ReasonCount {
  std::string reason;
  std::size_t count = 0;
};
[[nodiscard]] std::vector<ReasonCount> unsupported_reasons(const Validation& validation);
/// Of rows that no group counts; a row counts once, however many values it has.
[[nodiscard]] std::vector<ReasonCount> left_out_reasons(const Validation& validation);

/// A table in words, for the pages.
struct ReportTable {
  std::string title;
  std::vector<std::string> header;  ///< the first column is text, the others numbers
  std::vector<std::vector<std::string>> rows;
};
/// Goals, headline errors beside the peers', runs, groups, shapes left out of the fit, rank
/// correlations, coverage, rows left out; those that have content.
[[nodiscard]] std::vector<ReportTable> report_tables(const Validation& validation);

/// A published error of another simulator on measurements like ours, as a fraction.
struct PublishedPeer {
  const char* name;    ///< "BLIS"
  const char* on;      ///< on which measurements
  const char* metric;  ///< "tpot_mean", ...
  double error;
  const char* of;  ///< what the number is: "mean |e|"
};
[[nodiscard]] const std::vector<PublishedPeer>& published_peers();

}  // namespace moesim

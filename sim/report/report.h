#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "sim/report/deployment.h"
#include "sim/report/metrics.h"
#include "sim/report/result.h"
#include "sim/report/run_view.h"

namespace moesim {

/// "0.1.0"
[[nodiscard]] const char* tool_version();

/// What the simulation itself took.
struct Timings {
  double wall_ms = 0, cpu_ms = 0;
};
[[nodiscard]] RunResult make_result(const RunView& view, const Metrics& metrics, Timings timings);

/// `memory` of the report: the fullest GPU of the first kind of instance, and all of them if they
/// differ.
[[nodiscard]] MemorySection memory_section(const Deployment& deployment);

/// What `moesim memory` tells: no simulation needed, feasible or not.
struct MemoryReport {
  ModelInfo model;
  std::vector<NodeInfo> nodes;
  std::vector<InstanceSummary> instances;
  MemorySection memory;
  std::vector<std::string> warnings;
  /// Instances that do not fit, one per kind, and what would make them fit.
  struct Problem {
    std::string instance, reason;
    Bytes shortfall;  ///< per GPU
    std::vector<Remedy> remedies;
  };
  std::vector<Problem> problems;
};
[[nodiscard]] MemoryReport make_memory_report(const Scenario& scenario,
                                              const Deployment& deployment);
struct MemoryVariant {
  std::string name;
  MemoryReport report;
};

// Parts of a report that need no simulation.
[[nodiscard]] ModelInfo model_info(const ModelSpec& model);
[[nodiscard]] std::vector<NodeInfo> node_infos(const ClusterSpec& cluster);
[[nodiscard]] std::vector<InstanceSummary> instance_summaries(const Deployment& deployment);

// Writers: one format a file, from plain data only. Doubles have at most six significant digits.
void write_json(const RunResult& result, std::ostream& out);
/// The report of the base, with `comparison` beside its sections.
void write_json(const RunResult& result, const Comparison& comparison, std::ostream& out);
void write_json(const MemoryReport& report, std::ostream& out);
/// The base, with its variants beside it if there are any.
void write_json(const MemoryReport& report, const std::vector<MemoryVariant>& variants,
                std::ostream& out);
void write_json(const Comparison& comparison, std::ostream& out);
void write_text(const RunResult& result, std::ostream& out);
void write_text(const MemoryReport& report, std::ostream& out);
void write_text(const Comparison& comparison, std::ostream& out);
void write_prometheus(const RunResult& result, std::ostream& out);
/// One JSON object a line and request (glossary 7).
void write_requests(const RunView& view, std::ostream& out);

}  // namespace moesim

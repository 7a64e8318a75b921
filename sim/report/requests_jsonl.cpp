#include <cstddef>
#include <fmt/format.h>
#include <optional>
#include <ostream>
#include <string>

#include "sim/report/json_text.h"
#include "sim/report/report.h"
#include "sim/report/request_stats.h"

namespace moesim {
namespace {

const char* terminal_status(RequestStatus status) {
  switch (status) {
    case RequestStatus::kCompleted:
      return "completed";
    case RequestStatus::kDropped:
      return "dropped";
    case RequestStatus::kPending:
    case RequestStatus::kWaiting:
    case RequestStatus::kRunning:
    case RequestStatus::kIncomplete:
      break;
  }
  return "incomplete";
}

/// One line in the making; absent values leave their key out.
class Line {
 public:
  void text(const char* key, const std::string& value) { add(key, json_quote(value)); }
  void integer(const char* key, std::int64_t value) { add(key, std::to_string(value)); }
  void boolean(const char* key, bool value) { add(key, value ? "true" : "false"); }
  /// Milliseconds to the nanosecond: times of a long run need more than six digits.
  void time(const char* key, SimTime value) {
    if (value != kNever) add(key, fixed_number(static_cast<double>(value) * 1e-6, 6));
  }
  void milliseconds(const char* key, const std::optional<double>& ns) {
    if (ns) add(key, fixed_number(*ns * 1e-6, 6));
  }
  [[nodiscard]] std::string finish() const { return text_ + "}\n"; }

 private:
  void add(const char* key, const std::string& value) {
    text_ += fmt::format("{}\"{}\": {}", text_.size() > 1 ? ", " : "", key, value);
  }
  std::string text_ = "{";
};

void add_identity(const RunView& view, std::size_t row, Line& line) {
  const Workload& workload = view.workload;
  const std::string id = workload.names.empty() ? std::to_string(row) : workload.names[row];
  if (!id.empty()) line.text("request_id", id);
  if (const std::optional<std::string> session = session_name(workload, row))
    line.text("session_id", *session);
  if (!workload.domain.empty() && workload.domain[row] != kNoDomain)
    line.text("domain", workload.domain_names[workload.domain[row]]);
}

void add_tokens(const RunView& view, std::size_t row, Line& line) {
  line.integer("input_tokens", view.workload.prompt_tokens[row]);
  line.integer("cached_tokens", view.requests.cached_tokens[row]);
  line.integer("output_tokens", view.requests.generated[row]);
}

}  // namespace

void write_requests(const RunView& view, std::ostream& out) {
  const RequestTable& table = view.requests;
  for (std::size_t row = 0; row < table.size(); ++row) {
    const bool issued =
        table.arrival[row] != kNever && table.status[row] != RequestStatus::kPending;
    Line line;
    add_identity(view, row, line);
    if (issued) {
      line.time("arrival_ms", table.arrival[row]);
      line.time("first_scheduled_ms", table.first_scheduled[row]);
      line.time("first_token_ms", table.first_token[row]);
      line.time("finish_ms", table.finish[row]);
    }
    add_tokens(view, row, line);
    if (issued) {
      const RequestLatencies latency = request_latencies(table, row);
      line.milliseconds("ttft_ms", latency.ttft);
      line.milliseconds("tpot_ms", latency.tpot);
      line.milliseconds("e2el_ms", latency.e2el);
      line.milliseconds("queue_ms", latency.queue);
      line.integer("preemptions", table.preemptions[row]);
      if (table.instance[row] < view.deployment.instances.size()) {
        line.text("instance", view.deployment.instances[table.instance[row]].name);
        line.integer("dp_rank", table.dp_rank[row]);
      }
    }
    if (!view.workload.slo_class.empty() && view.workload.slo_class[row] != kNoSloClass)
      line.text("slo_class", view.workload.slo_class_names[view.workload.slo_class[row]]);
    if (view.scenario.slo.any()) line.boolean("slo_met", meets_slo(table, row, view.scenario.slo));
    line.text("terminal_status", terminal_status(table.status[row]));
    out << line.finish();
  }
}

}  // namespace moesim

#include "sim/validation/accuracy.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/base/stats.h"

namespace moesim {
namespace {

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return percentile(values, 50);
}

ErrorGroup summed_up(const std::string& name, const std::string& metric,
                     const std::vector<double>& errors) {
  std::vector<double> sizes;
  sizes.reserve(errors.size());
  for (const double error : errors) sizes.push_back(std::abs(error));
  std::ranges::sort(sizes);
  return {.name = name,
          .metric = metric,
          .n = errors.size(),
          .median_ape = percentile(sizes, 50),
          .p90_ape = percentile(sizes, 90),
          .median_pe = median(errors)};
}

/// One vote for each of `groups`, however many rows it has.
ErrorGroup median_of(const std::string& name, const std::vector<ErrorGroup>& groups) {
  ErrorGroup result{.name = name, .metric = groups.front().metric};
  std::vector<double> median_apes, p90_apes, median_pes;
  for (const ErrorGroup& group : groups) {
    result.n += group.n;
    median_apes.push_back(group.median_ape);
    p90_apes.push_back(group.p90_ape);
    median_pes.push_back(group.median_pe);
  }
  result.median_ape = median(std::move(median_apes));
  result.p90_ape = median(std::move(p90_apes));
  result.median_pe = median(std::move(median_pes));
  return result;
}

/// Groups the rows of a metric by a name, in order of first appearance; rows without one are left
/// out.
template <class NameOf>
std::vector<ErrorGroup> grouped(const std::vector<ComparedValue>& rows, const std::string& metric,
                                const NameOf& name_of) {
  using Named = std::pair<std::string, std::vector<double>>;
  std::vector<Named> errors;
  for (const ComparedValue& row : rows) {
    if (row.metric != metric || !row.left_out.empty()) continue;
    const std::string name = name_of(row);
    if (name.empty()) continue;
    auto found = std::ranges::find(errors, name, &Named::first);
    if (found == errors.end()) found = errors.insert(errors.end(), {name, {}});
    found->second.push_back(row.error());
  }
  std::vector<ErrorGroup> groups;
  groups.reserve(errors.size());
  for (const auto& [name, values] : errors) groups.push_back(summed_up(name, metric, values));
  return groups;
}

std::string prefixed(const char* prefix, const std::string& name) {
  return name.empty() ? "" : prefix + name;
}

std::vector<ErrorGroup> groups_of(const std::vector<ComparedValue>& rows,
                                  const std::string& metric) {
  std::vector<ErrorGroup> out;
  const auto append = [&out](const std::vector<ErrorGroup>& groups) {
    out.insert(out.end(), groups.begin(), groups.end());
  };
  const auto by = [&](const auto& name_of) { return grouped(rows, metric, name_of); };
  const auto moe = by([](const ComparedValue& r) { return r.moe ? r.source + "/moe" : ""; });
  const auto dense = by([](const ComparedValue& r) { return r.moe ? "" : r.source + "/dense"; });
  append(by([](const ComparedValue& r) { return r.source; }));
  append(moe);
  append(dense);
  append(by([](const ComparedValue& r) { return prefixed("gpu/", r.gpu); }));
  append(by([](const ComparedValue& r) { return prefixed("engine/", r.engine); }));
  append(by([](const ComparedValue& r) { return prefixed("layout/", r.layout); }));
  if (!moe.empty()) append({median_of("all/moe", moe)});
  if (!dense.empty()) append({median_of("all/dense", dense)});
  const auto trusted = [&](bool moe_rows, const char* name) {
    const auto sources = by([moe_rows](const ComparedValue& r) {
      return r.trusted && r.moe == moe_rows ? r.source : "";
    });
    if (!sources.empty()) append({median_of(name, sources)});
  };
  trusted(true, kTrustedMoe);
  trusted(false, kTrustedDense);
  append(by([](const ComparedValue&) { return std::string("pooled"); }));
  return out;
}

/// Metrics in order of first appearance.
std::vector<std::string> metrics_of(const std::vector<ComparedValue>& rows) {
  std::vector<std::string> metrics;
  for (const ComparedValue& row : rows) {
    if (!row.left_out.empty()) continue;
    if (std::ranges::find(metrics, row.metric) == metrics.end()) metrics.push_back(row.metric);
  }
  return metrics;
}

IntervalCoverage coverage_of(const std::vector<ComparedValue>& rows, const std::string& name,
                             const std::string& metric) {
  IntervalCoverage group{name, metric, 0, 0};
  std::size_t inside = 0;
  for (const ComparedValue& row : rows) {
    const bool member = name == "pooled" || row.moe == (name == "moe");
    if (row.metric != metric || !row.left_out.empty() || !member) continue;
    if (!row.p10 || !row.p90) continue;
    ++group.n;
    inside += *row.p10 <= row.measured && row.measured <= *row.p90 ? 1U : 0U;
  }
  if (group.n > 0) group.share = static_cast<double>(inside) / static_cast<double>(group.n);
  return group;
}

}  // namespace

double ComparedValue::error() const {
  const double difference = predicted - measured;
  return measured == 0 ? difference : difference / measured;
}

std::vector<ErrorGroup> group_errors(const std::vector<ComparedValue>& rows) {
  std::vector<ErrorGroup> groups;
  for (const std::string& metric : metrics_of(rows)) {
    const std::vector<ErrorGroup> of_metric = groups_of(rows, metric);
    groups.insert(groups.end(), of_metric.begin(), of_metric.end());
  }
  return groups;
}

std::vector<IntervalCoverage> interval_coverage(const std::vector<ComparedValue>& rows) {
  std::vector<IntervalCoverage> out;
  for (const std::string& metric : metrics_of(rows)) {
    for (const char* name : {"moe", "dense", "pooled"}) {
      const IntervalCoverage group = coverage_of(rows, name, metric);
      if (group.n > 0) out.push_back(group);
    }
  }
  return out;
}

}  // namespace moesim

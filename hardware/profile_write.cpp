#include <cmath>
#include <fmt/format.h>

#include "hardware/profile.h"

namespace moesim {

namespace {

/// A JSON string; names of ours need no other escapes.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + "\"";
}

std::string table_text(const KernelCurve& curve) {
  std::string axes, values, near;
  for (const TableAxis& axis : curve.table.axes) {
    axes += fmt::format("{}{{\"axis\":{},\"low\":{:g},\"step\":{:g},\"count\":{}}}",
                        axes.empty() ? "" : ",",
                        quoted(curve.form->axes[static_cast<std::size_t>(axis.coordinate)]),
                        axis.low, axis.step, axis.count);
  }
  for (const float value : curve.table.values)
    values += fmt::format("{}{}", values.empty() ? "" : ",", std::lround(value * 1000.0F));
  for (const std::uint8_t n : curve.table.near) near += static_cast<char>('0' + n);
  return fmt::format("{{\"axes\":[{}],\"log_milli\":[{}],\"near\":\"{}\"}}", axes, values, near);
}

std::string quality_text(const FitQuality& q) {
  return fmt::format(
      "\"points\":{},\"shapes\":{},\"form_p50\":{:g},\"form_p90\":{:g},\"left_out_p50\":{:g},"
      "\"left_out_p90\":{:g},\"in_sample_p50\":{:g},\"in_sample_p90\":{:g}",
      q.points, q.shapes, q.form_p50, q.form_p90, q.left_p50, q.left_p90, q.in_p50, q.in_p90);
}

std::string curve_text(const KernelCurve& curve) {
  std::string coefficients;
  for (std::size_t i = 0; i < curve.coefficients.size(); ++i) {
    const Coefficient& c = curve.form->coefficients[i];
    if (c.may_be_none && curve.coefficients[i] == 0) continue;
    coefficients +=
        fmt::format("{}\"{}\":{:.4g}", i == 0 ? "" : ",", c.name, curve.coefficients[i]);
  }
  std::string uneven;
  if (curve.uneven.points > 0)
    uneven = fmt::format(",\"uneven\":{{{}}}", quality_text(curve.uneven));
  return fmt::format(
      "{{\"op\":{},\"kernel\":{},\"dtype\":{},\"form\":\"{}\",\"coefficients\":{{{}}},"
      "\"spread\":{{\"near\":{:g},\"far\":{:g}}},\"quality\":{{{}{}}},\"table\":{}}}",
      quoted(curve.op), quoted(curve.kernel), quoted(curve.dtype), curve.form->name, coefficients,
      curve.spread_near, curve.spread_far, quality_text(curve.quality), uneven, table_text(curve));
}

std::string provenance_text(const KernelProfile::Provenance& p) {
  std::string sources, origin;
  for (const auto& source : p.sources) {
    sources +=
        fmt::format("{}{{\"name\":{},\"commit\":{},\"license\":{}}}", sources.empty() ? "" : ",",
                    quoted(source.name), quoted(source.commit), quoted(source.license));
  }
  for (const std::string& o : p.origin) origin += (origin.empty() ? "" : ",") + quoted(o);
  return fmt::format(
      "{{\"date\":{},\"tool\":{},\"origin\":[{}],\"sources\":[{}],\"samples_digest\":{},"
      "\"notes\":{}}}",
      quoted(p.date), quoted(p.tool), origin, sources, quoted(p.samples_digest), quoted(p.notes));
}

}  // namespace

std::string write_profile(const KernelProfile& profile) {
  std::string out = fmt::format(
      "{{\n\"schema_version\":1,\n\"system\":{},\n\"framework\":{},\n\"version\":{},\n"
      "\"sm_version\":{},\n\"provenance\":{},\n\"ops\":[\n",
      quoted(profile.system), quoted(profile.framework), quoted(profile.version),
      profile.sm_version, provenance_text(profile.provenance));
  for (std::size_t i = 0; i < profile.curves.size(); ++i)
    out += curve_text(profile.curves[i]) + (i + 1 < profile.curves.size() ? ",\n" : "\n");
  return out + "]\n}\n";
}

}  // namespace moesim

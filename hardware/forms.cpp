#include "hardware/forms.h"

#include <algorithm>
#include <cmath>

#include "hardware/forms_list.h"

namespace moesim {

namespace {

using Getter = const Form& (*)();
constexpr Getter kForms[] = {
    gemm_form,       moe_form,         attention_decode_form, attention_prefill_form,
    mla_decode_form, mla_prefill_form, mla_product_form,      message_form,
    stream_form,     deepep_form,      deepep_ll_form};

}  // namespace

double soft_max(double a, double b, double p) {
  const double high = std::max(a, b);
  if (high <= 0) return 0;
  const double part = std::min(a, b) / high;
  if (p == 4) return high * std::sqrt(std::sqrt(1 + part * part * (part * part)));
  return high * std::pow(1 + std::pow(part, p), 1 / p);
}

double soft_max(double a, double b, double c, double p) {
  const double high = std::max({a, b, c});
  if (high <= 0) return 0;
  // The largest is 1: two powers of three.
  const double second = std::max(std::min(a, b), std::min(std::max(a, b), c));
  const double third = std::min({a, b, c});
  return high * std::pow(1 + std::pow(second / high, p) + std::pow(third / high, p), 1 / p);
}

const Form* find_form(const std::string& name) {
  for (const Getter form : kForms) {
    if (form().name == name) return &form();
  }
  return nullptr;
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const Getter form : kForms) names.emplace_back(form().name);
  return names;
}

}  // namespace moesim

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
  return high * std::pow(1 + std::pow(std::min(a, b) / high, p), 1 / p);
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

#pragma once

#include "hardware/forms.h"

namespace moesim {

/// Every form, one function a file family. Private to hardware.
[[nodiscard]] const Form& gemm_form();
[[nodiscard]] const Form& moe_form();
[[nodiscard]] const Form& attention_decode_form();
[[nodiscard]] const Form& attention_prefill_form();
[[nodiscard]] const Form& mla_decode_form();
[[nodiscard]] const Form& mla_prefill_form();
[[nodiscard]] const Form& mla_product_form();
[[nodiscard]] const Form& message_form();
[[nodiscard]] const Form& stream_form();
[[nodiscard]] const Form& deepep_form();
[[nodiscard]] const Form& deepep_ll_form();

}  // namespace moesim

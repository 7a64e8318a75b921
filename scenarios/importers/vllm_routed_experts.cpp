#include <array>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "scenarios/importer.h"
#include "scenarios/routing_import.h"
#include "scenarios/routing_trace.h"
#include "scenarios/trace_text.h"
#include "sim/base/files.h"
#include "sim/base/registry.h"

namespace moesim {
namespace {

using nlohmann::json;

/// Bytes of standard base64 (RFC 4648); nothing if it is none.
std::optional<std::string> decode_base64(const std::string& text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : std::string_view(text).substr(0, text.find('='))) {
    const std::size_t digit = kDigits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = (bits << 6 | static_cast<std::uint32_t>(digit)) & 0xffffff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return bytes;
}

/// Flattens nested lists; false if they are no box of whole numbers.
bool flatten(const json& value, std::size_t depth, IntArray& out) {
  constexpr std::size_t kDeepest = 3;
  if (!value.is_array()) {
    if (depth != kDeepest || !value.is_number_integer()) return false;
    out.values.push_back(value.get<std::int64_t>());
    return true;
  }
  if (depth >= kDeepest) return false;
  if (out.shape.size() == depth) out.shape.push_back(value.size());
  if (out.shape[depth] != value.size()) return false;
  for (const json& item : value) {
    if (!flatten(item, depth + 1, out)) return false;
  }
  return true;
}

/// Numbers without a shape, as SGLang sends them: 32 bits each, all layers of the model.
IntArray without_shape(const std::string& bytes, const MoeLayers& layers) {
  IntArray array;
  for (std::size_t at = 0; at + 4 <= bytes.size(); at += 4) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
      value |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    array.values.push_back(static_cast<std::int32_t>(value));
  }
  const auto top_k = static_cast<std::size_t>(layers.shape.top_k);
  const auto all = static_cast<std::size_t>(layers.all_layers);
  array.shape = {array.values.size() / (all * top_k), all, top_k};
  if (array.shape[0] * all * top_k != array.values.size()) array.shape = {array.values.size()};
  return array;
}

/// Routed experts of vLLM (`--enable-return-routed-experts`) and SGLang (`return_routed_experts`):
/// the model's config.json, then .npy, .npz or JSON lines of responses.
class VllmRoutedExperts final : public Importer {
 public:
  Result convert(const std::vector<std::filesystem::path>& inputs) const override {
    if (inputs.size() < 2)
      refuse_file("vllm_routed_experts", "", "no responses given",
                  "give the model's config.json, then .npy, .npz or JSON files");
    RoutedRequests requests(read_moe_layers(inputs[0]));
    for (std::size_t i = 1; i < inputs.size(); ++i) read(inputs[i], requests);
    if (requests.rows() == 0)
      refuse_file(inputs[1].string(), "", "no routed tokens", "was the option on when serving?");
    Result result;
    result.files.emplace_back("", write_mrt(requests.table("routed experts of served requests")));
    result.notes.push_back("ids taken as logical experts, in no promised order");
    const MoeLayers& layers = requests.layers();
    if (layers.all_layers > layers.shape.layers)
      result.notes.push_back(fmt::format("{} dense layers left out, by the model's list",
                                         layers.all_layers - layers.shape.layers));
    if (requests.unrun() > 0)
      result.notes.push_back(
          fmt::format("{} last tokens that were never run left out", requests.unrun()));
    return result;
  }

 private:
  static void read(const std::filesystem::path& path, RoutedRequests& requests) {
    const std::string content = read_file(path), file = path.string();
    if (content.starts_with("\x93NUMPY")) {
      requests.add({}, read_npy(content, file, ""), file, "");
    } else if (content.starts_with("PK")) {
      read_arrays(content, file, requests);
    } else {
      Lines lines(content);
      while (lines.next()) read_line(lines, file, requests);
    }
  }

  static void read_arrays(const std::string& content, const std::string& file,
                          RoutedRequests& requests) {
    IntArray prompt, decode;
    for (auto& [name, array] : read_npz(content, file)) {
      if (name == "prompt_routed_experts") {
        prompt = std::move(array);
      } else if (name == "routed_experts") {
        decode = std::move(array);
      }
    }
    if (prompt.values.empty() && decode.values.empty())
      refuse_file(file, "", "has neither routed_experts nor prompt_routed_experts",
                  "save them under these names");
    requests.add(prompt, decode, file, "");
  }

  /// The array at a key of a response: nested lists, or base64 of a .npy file or of bare numbers.
  static IntArray array_at(const json& object, const char* key, const Lines& lines,
                           const std::string& file, const MoeLayers& layers) {
    const auto at = object.find(key);
    IntArray array;
    if (at == object.end() || at->is_null()) return array;
    const std::string name = fmt::format("line {}: {}", lines.number(), key);
    if (at->is_string()) {
      const auto bytes = decode_base64(at->get<std::string>());
      if (!bytes) refuse_file(file, name, "is no base64", "give the response as it was sent");
      return bytes->starts_with("\x93NUMPY") ? read_npy(*bytes, file, name)
                                             : without_shape(*bytes, layers);
    }
    if (!flatten(*at, 0, array))
      refuse_file(file, name, "is no list of tokens of layers of ids",
                  "give the response as it was sent");
    return array;
  }

  static void read_line(const Lines& lines, const std::string& file, RoutedRequests& requests) {
    const json response = json::parse(lines.line(), nullptr, false);
    if (!response.is_object())
      refuse_file(file, fmt::format("line {}", lines.number()), "is not a JSON object",
                  "one response a line");
    const auto domain = response.find("domain");
    const std::string tag =
        domain != response.end() && domain->is_string() ? domain->get<std::string>() : "";
    const IntArray prompt =
        array_at(response, "prompt_routed_experts", lines, file, requests.layers());
    const auto add = [&](const json& holder) {
      requests.add(prompt, array_at(holder, "routed_experts", lines, file, requests.layers()), file,
                   tag);
    };
    const auto choices = response.find("choices");
    const auto meta = response.find("meta_info");
    if (choices != response.end() && choices->is_array()) {
      for (const json& choice : *choices) {
        if (choice.is_object()) add(choice);
      }
    } else {
      add(meta != response.end() && meta->is_object() ? *meta : response);
    }
  }
};

const Register<Importer> kVllmRoutedExperts{
    "vllm_routed_experts",
    "routed experts of vLLM or SGLang responses (config.json, then .npy, .npz, JSON lines) to MRT",
    [](Reader&) { return std::make_unique<VllmRoutedExperts>(); }};

}  // namespace
}  // namespace moesim

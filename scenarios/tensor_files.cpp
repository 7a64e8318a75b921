#include "scenarios/tensor_files.h"

#include <bit>
#include <cstdint>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "scenarios/routing_mrt.h"
#include "scenarios/trace_text.h"

namespace moesim {
namespace {

using nlohmann::json;

template <class T>
T number_at(std::string_view bytes, std::size_t at) {
  return load_le<T>(reinterpret_cast<const std::byte*>(bytes.data()) + at);
}

/// Goes through a GGUF file; every read stays inside it.
class GgufCursor {
 public:
  GgufCursor(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  [[noreturn]] void refuse(const std::string& problem) const {
    refuse_file(file_, fmt::format("offset {}", at_), problem,
                "write the file again with llama-imatrix, --output-format gguf");
  }
  template <class T>
  T number() {
    need(sizeof(T));
    const T value = number_at<T>(bytes_, at_);
    at_ += sizeof(T);
    return value;
  }
  std::string_view text() {
    const auto size = number<std::uint64_t>();
    need(size);
    const std::string_view value = bytes_.substr(at_, static_cast<std::size_t>(size));
    at_ += value.size();
    return value;
  }
  /// A value of GGUF's type `type`; whole numbers of 32 bits are returned.
  std::optional<std::uint32_t> value(std::uint32_t type) {
    constexpr std::uint32_t kU32 = 4, kText = 8, kArray = 9;
    if (type == kU32) return number<std::uint32_t>();
    if (type == kText) {
      text();
    } else if (type == kArray) {
      array();
    } else {
      skip(width(type));
    }
    return std::nullopt;
  }
  [[nodiscard]] std::size_t at() const { return at_; }
  [[nodiscard]] std::uint64_t left() const { return bytes_.size() - at_; }

 private:
  void need(std::uint64_t size) const {
    if (size > left()) refuse(fmt::format("ends {} bytes too early", size - left()));
  }
  void skip(std::uint64_t size) {
    need(size);
    at_ += static_cast<std::size_t>(size);
  }
  [[nodiscard]] std::uint64_t width(std::uint32_t type) const {
    // u8 i8 u16 i16 u32 i32 f32 bool text array u64 i64 f64
    constexpr std::uint64_t kWidths[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    if (type >= std::size(kWidths) || kWidths[type] == 0)
      refuse(fmt::format("has a value of unknown type {}", type));
    return kWidths[type];
  }
  void array() {
    constexpr std::uint32_t kText = 8;
    const auto type = number<std::uint32_t>();
    const auto count = number<std::uint64_t>();
    if (type == kText) {
      for (std::uint64_t i = 0; i < count; ++i) text();
      return;
    }
    const std::uint64_t bytes = width(type);
    if (count > left() / bytes) refuse(fmt::format("has an array of {} values", count));
    skip(count * bytes);
  }

  std::string_view bytes_;
  std::string file_;
  std::size_t at_ = 0;
};

/// A tensor whose numbers are wanted.
struct Wanted {
  std::string name;
  std::uint64_t count = 0, offset = 0;
};

/// The entries of the tensor table that end in `suffix`; leaves the cursor behind it.
std::vector<Wanted> read_tensor_table(GgufCursor& in, std::uint64_t tensors,
                                      std::string_view suffix) {
  std::vector<Wanted> wanted;
  for (std::uint64_t t = 0; t < tensors; ++t) {
    const std::string_view name = in.text();
    const auto dimensions = in.number<std::uint32_t>();
    std::uint64_t count = 1;
    for (std::uint32_t d = 0; d < dimensions; ++d) {
      const auto size = in.number<std::uint64_t>();
      if (size > 0 && count > (std::uint64_t{1} << 40) / size) in.refuse("has a tensor too large");
      count *= size;
    }
    const auto type = in.number<std::uint32_t>();
    const auto offset = in.number<std::uint64_t>();
    if (!name.ends_with(suffix)) continue;
    if (type != 0) in.refuse(fmt::format("{} is of type {}, not of 32-bit floats", name, type));
    if (std::ranges::any_of(wanted, [name](const Wanted& w) { return w.name == name; }))
      in.refuse(fmt::format("has the tensor {} twice", name));
    wanted.push_back({std::string(name), count, offset});
  }
  return wanted;
}

}  // namespace

std::vector<NamedNumbers> read_gguf(std::string_view bytes, const std::string& file,
                                    std::string_view suffix) {
  GgufCursor in(bytes, file);
  constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
  if (bytes.size() < 4 || in.number<std::uint32_t>() != kMagic) in.refuse("is no GGUF file");
  const auto version = in.number<std::uint32_t>();
  if (version != 2 && version != 3) in.refuse(fmt::format("is GGUF version {}", version));
  const auto tensors = in.number<std::uint64_t>(), pairs = in.number<std::uint64_t>();
  std::uint64_t alignment = 32;
  for (std::uint64_t p = 0; p < pairs; ++p) {
    const std::string_view key = in.text();
    const auto value = in.value(in.number<std::uint32_t>());
    if (key == "general.alignment" && value) alignment = *value;
  }
  if (!std::has_single_bit(alignment)) in.refuse(fmt::format("is aligned to {}", alignment));
  const std::vector<Wanted> wanted = read_tensor_table(in, tensors, suffix);
  const std::uint64_t data = (in.at() + alignment - 1) / alignment * alignment;
  std::vector<NamedNumbers> found;
  for (const Wanted& tensor : wanted) {
    const std::uint64_t room = bytes.size() < data ? 0 : bytes.size() - data;
    if (tensor.offset > room || tensor.count > (room - tensor.offset) / sizeof(float))
      in.refuse(fmt::format("{} lies outside the file", tensor.name));
    NamedNumbers& one = found.emplace_back(NamedNumbers{tensor.name, {}});
    for (std::uint64_t i = 0; i < tensor.count; ++i) {
      const auto at = static_cast<std::size_t>(data + tensor.offset + i * sizeof(float));
      one.values.push_back(
          static_cast<double>(std::bit_cast<float>(number_at<std::uint32_t>(bytes, at))));
    }
  }
  return found;
}

std::vector<NamedNumbers> read_safetensors(std::string_view bytes, const std::string& file) {
  const auto refuse = [&](const std::string& key, const std::string& problem) {
    refuse_file(file, key, problem, "give the rank*.safetensors that TensorRT-LLM wrote");
  };
  constexpr std::size_t kLength = 8;
  const std::uint64_t length = bytes.size() < kLength ? 0 : number_at<std::uint64_t>(bytes, 0);
  if (length == 0 || length > bytes.size() - kLength) refuse("", "is no safetensors file");
  const auto header = bytes.substr(kLength, static_cast<std::size_t>(length));
  const std::string_view data = bytes.substr(kLength + header.size());
  std::set<std::string> names;
  const json::parser_callback_t once = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth == 1 && event == json::parse_event_t::key &&
        !names.insert(parsed.get<std::string>()).second)
      refuse(parsed.get<std::string>(), "stands in the header twice");
    return true;
  };
  const json table = json::parse(header, once, false);
  if (!table.is_object()) refuse("", "has a header that is no JSON object");
  std::vector<NamedNumbers> found;
  for (const auto& [name, entry] : table.items()) {
    if (name == "__metadata__") continue;
    const auto member = [&entry = entry](const char* key) {
      return entry.is_object() && entry.contains(key) ? entry[key] : json();
    };
    const json type = member("dtype"), shape = member("shape"), range = member("data_offsets");
    if (type != "I64" && type != "I32") refuse(name, "is no tensor of whole numbers (I64, I32)");
    const auto whole = [](const json& value) { return value.is_number_unsigned(); };
    if (!shape.is_array() || shape.size() != 1 || !whole(shape[0]) || !range.is_array() ||
        range.size() != 2 || !whole(range[0]) || !whole(range[1]))
      refuse(name, "is no vector with its place in the file");
    const std::size_t width = type == "I64" ? 8 : 4;
    const auto count = shape[0].get<std::uint64_t>();
    const auto first = range[0].get<std::uint64_t>(), last = range[1].get<std::uint64_t>();
    if (first > last || last > data.size() || (last - first) % width != 0 ||
        (last - first) / width != count)
      refuse(name, "lies outside the file, or is of another size than its shape");
    NamedNumbers& one = found.emplace_back(NamedNumbers{name, {}});
    for (auto at = static_cast<std::size_t>(first); at < last; at += width) {
      one.values.push_back(width == 8 ? static_cast<double>(number_at<std::int64_t>(data, at))
                                      : static_cast<double>(number_at<std::int32_t>(data, at)));
    }
  }
  return found;
}

}  // namespace moesim

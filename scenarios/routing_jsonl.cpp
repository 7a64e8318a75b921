#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <fmt/format.h>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <utility>

#include "scenarios/json_place.h"
#include "scenarios/routing_formats.h"
#include "scenarios/routing_metadata.h"
#include "scenarios/trace_text.h"

// Per-token traces as text (routing-traces.md 1.1). Keys the format does not name are ignored in
// row lines; the header keeps them as metadata. `flags` of a sequence is ours: what the sequence
// table of MRT says with the same bits.

namespace moesim {
namespace {

using nlohmann::json;

constexpr std::uint16_t kContiguous = 4;  ///< RoutedSequence::flags

/// A whole number from 0 to `most` at a key; nothing if it is absent or something else.
std::optional<std::uint64_t> whole_at(const json& object, const char* key, std::uint64_t most) {
  const auto at = object.find(key);
  if (at == object.end() || !at->is_number_unsigned()) return std::nullopt;
  const auto value = at->get<std::uint64_t>();
  return value <= most ? std::optional(value) : std::nullopt;
}

std::string text_at(const json& object, const char* key) {
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

class JsonlReader {
 public:
  JsonlReader(std::string_view text, const std::string& name) : lines_(text), mistakes_(name) {}

  RoutingTable run() {
    read_header();
    mistakes_.throw_if_any();
    while (lines_.next()) {
      const json object = parse_line();
      if (!object.is_object()) continue;
      if (object.contains("e")) {
        read_row(object);
      } else {
        end_sequence();
        begin_sequence(object);
      }
    }
    end_sequence();
    if (rows_ == 0 && !mistakes_.any()) fail("", "no rows", "write at least one sequence");
    mistakes_.throw_if_any();
    return finish();
  }

 private:
  /// At the value of the line that `path` leads to.
  void fail_at(std::span<const JsonStep> path, const std::string& key, std::string problem,
               std::string hint) {
    const int column = lines_.column(json_place(lines_.line(), path));
    mistakes_.add({lines_.number(), column}, key, std::move(problem), std::move(hint));
  }
  void fail(const std::string& key, std::string problem, std::string hint) {
    const JsonStep path[] = {std::string_view(key)};
    fail_at(std::span(path).first(key.empty() ? 0 : 1), key, std::move(problem), std::move(hint));
  }
  /// Of the sequence line: known to be wrong only once its rows are counted.
  void fail_sequence(const std::string& key, std::string problem, std::string hint) {
    const JsonStep path[] = {std::string_view(key)};
    const auto column = static_cast<int>(json_place(sequence_text_, path)) + 1;
    mistakes_.add({sequence_line_, column}, key, std::move(problem), std::move(hint));
  }
  json parse_line();
  void read_header();
  void read_shape(const json& header);
  void begin_sequence(const json& object);
  void end_sequence();
  void read_row(const json& object);
  void read_phase(const json& object);
  void read_position(const json& object);
  bool read_ids(const json& layers);
  void read_weights(const json& object);
  std::uint16_t domain_of(const std::string& name, const std::string& group);
  RoutingTable finish();

  Lines lines_;
  TraceMistakes mistakes_;
  RoutingShape shape_;
  RoutingMetadata about_;
  bool ranked_ = false, physical_ = false;
  int shared_experts_ = 0;
  std::vector<RoutedSequence> sequences_;
  std::optional<std::uint64_t> announced_prompt_;  ///< `prompt_rows` of the current sequence
  std::uint64_t announced_rows_ = 0;
  std::uint64_t number_ = 0;  ///< `seq` of the current sequence
  int sequence_line_ = 0;     ///< where it stands
  std::string_view sequence_text_;
  bool open_ = false, contiguous_ = true;
  bool damaged_ = false;  ///< a line was none of JSON: rows may be missing
  std::uint64_t next_position_ = 0, rows_ = 0, gaps_ = 0;
  std::vector<std::uint16_t> ids_;
  std::vector<float> weights_;
  std::map<std::pair<std::string, std::string>, std::uint16_t> domains_;
};

json JsonlReader::parse_line() {
  json object = json::parse(lines_.line(), nullptr, false);
  if (object.is_object()) return object;
  damaged_ = true;
  JsonFault fault = json_fault(lines_.line());
  mistakes_.add({lines_.number(), lines_.column(fault.place)}, "", std::move(fault.problem),
                std::move(fault.hint));
  return {};
}

void JsonlReader::read_header() {
  if (!lines_.next())
    return fail("", "the file is empty", "its first line is the header of a moe-routing-trace");
  const json header = parse_line();
  if (!header.is_object()) return;
  if (text_at(header, "format") != "moe-routing-trace")
    return fail("format", "is not moe-routing-trace", "give the header of a routing trace");
  if (whole_at(header, "version", 1) != 1U)
    fail("version", "is not 1", "this program reads version 1");
  if (text_at(header, "mode") != "per_token")
    fail("mode", "is not per_token", "step loads are written as CSV or MRT");
  read_shape(header);
  const auto ranked = header.find("ranked");
  ranked_ = ranked != header.end() && *ranked == true;
  const std::string ids = header.contains("ids") ? text_at(header, "ids") : "logical";
  if (ids != "logical" && ids != "physical")
    fail("ids", "is neither logical nor physical", "say which experts the ids name");
  physical_ = ids == "physical";
}

void JsonlReader::read_shape(const json& header) {
  bool counted = true;  // what stands for a count that is none would be a mistake of its own
  const auto count = [&](const char* key, bool required) {
    const auto value = whole_at(header, key, kMostExperts);
    if (!value && (required || header.contains(key))) {
      fail(key, "is no count", fmt::format("a whole number up to {}", kMostExperts));
      counted = counted && !required;
    }
    return static_cast<int>(value.value_or(0));
  };
  shape_.layers = count("n_layers", true);
  shape_.experts = count("n_experts", true);
  shape_.top_k = count("top_k", true);
  shared_experts_ = count("n_shared_experts", false);
  const std::string problem = parse_metadata(lines_.line(), about_);
  if (!problem.empty()) {
    const JsonStep named[] = {std::string_view(problem).substr(0, problem.find_first_of(" :"))};
    fail_at(named, "", problem, "mend the header");
  }
  about_.domains.clear();  // the sequence lines name them
  shape_.groups = about_.groups;
  shape_.topk_groups = about_.topk_groups;
  if (!counted) return;
  for (const ShapeProblem& one : shape_problems(shape_))
    fail(one.key, one.problem, "mend the header");
  if (problem.empty() && !about_.layer_ids.empty() &&
      about_.layer_ids.size() != static_cast<std::size_t>(shape_.layers))
    fail("layer_ids",
         fmt::format("{} layer_ids for {} layers", about_.layer_ids.size(), shape_.layers),
         "mend the header");
}

std::uint16_t JsonlReader::domain_of(const std::string& name, const std::string& group) {
  const auto next = static_cast<std::uint16_t>(domains_.size());
  const auto [at, is_new] = domains_.emplace(std::pair(name, group), next);
  if (is_new) about_.domains.push_back({next, name, group});
  return at->second;
}

void JsonlReader::begin_sequence(const json& object) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  RoutedSequence sequence;
  sequence.first_row = rows_;
  const auto number = whole_at(object, "seq", kMost);
  if (!number || (!sequences_.empty() && *number <= number_))
    fail("seq", "is missing or not above the one before", "number the sequences upwards");
  number_ = number.value_or(number_ + 1);
  const auto rows = whole_at(object, "rows", kMost);
  if (!rows || *rows == 0)
    fail("rows", "is missing or no count", "the number of row lines that follow");
  announced_rows_ = rows.value_or(0);
  announced_prompt_ = whole_at(object, "prompt_rows", kMost);
  const auto or_zero = [&](const char* key, std::uint64_t most) {
    const auto value = whole_at(object, key, most);
    if (!value && object.contains(key)) fail(key, "is no count", "a whole number");
    return value.value_or(0);
  };
  sequence.first_position = static_cast<std::uint32_t>(or_zero("first_pos", kMost));
  sequence.flags = static_cast<std::uint16_t>(or_zero("flags", UINT16_MAX));
  sequence.source_id = or_zero("source_id", std::numeric_limits<std::uint64_t>::max());
  sequence.domain = domain_of(text_at(object, "domain"), text_at(object, "group"));
  sequences_.push_back(sequence);
  sequence_line_ = lines_.number();
  sequence_text_ = lines_.line();
  open_ = contiguous_ = true;
  next_position_ = sequence.first_position;
}

void JsonlReader::end_sequence() {
  if (!open_) return;
  open_ = false;
  RoutedSequence& sequence = sequences_.back();
  if (sequence.rows != announced_rows_ && !damaged_)
    fail_sequence("rows",
                  fmt::format("sequence {} has {} rows, not {}", sequences_.size() - 1,
                              sequence.rows, announced_rows_),
                  "give as many rows as its line says");
  if (announced_prompt_) {
    if (*announced_prompt_ > sequence.rows)
      fail_sequence("prompt_rows", "more than the sequence has rows", "count the prompt rows");
    sequence.prompt_rows = static_cast<std::uint32_t>(*announced_prompt_);
  }
  if (contiguous_) {
    sequence.flags |= kContiguous;
  } else {
    sequence.flags &= static_cast<std::uint16_t>(~kContiguous);
    ++gaps_;
  }
}

void JsonlReader::read_phase(const json& object) {
  if (!object.contains("ph")) return;
  RoutedSequence& sequence = sequences_.back();
  const std::string phase = text_at(object, "ph");
  if (phase != "p" && phase != "d")
    return fail("ph", "is neither p nor d", "p is a row of the prompt, d one of the output");
  const bool prompt = phase == "p";
  if (announced_prompt_) {
    if (prompt != (sequence.rows < *announced_prompt_))
      fail("ph",
           fmt::format("row {} of a sequence whose prompt_rows is {}", sequence.rows,
                       *announced_prompt_),
           "prompt rows come first; count them");
  } else if (prompt && sequence.prompt_rows++ < sequence.rows) {
    fail("ph", "a prompt row after others", "prompt rows come first");
  }
}

void JsonlReader::read_position(const json& object) {
  RoutedSequence& sequence = sequences_.back();
  if (!object.contains("pos")) {
    ++next_position_;
    return;
  }
  const auto position = whole_at(object, "pos", std::numeric_limits<std::uint32_t>::max());
  if (!position) return fail("pos", "is no position", "a whole number");
  if (sequence.rows == 0 && *position != sequence.first_position) {
    if (sequence.first_position == 0) {
      sequence.first_position = static_cast<std::uint32_t>(*position);
    } else {
      fail("pos", fmt::format("is not first_pos {}", sequence.first_position), "make them agree");
    }
  } else if (sequence.rows > 0 && *position < next_position_) {
    fail("pos", fmt::format("{} after {}", *position, next_position_ - 1),
         "positions of a sequence rise");
  } else if (sequence.rows > 0 && *position > next_position_) {
    contiguous_ = false;
  }
  next_position_ = *position + 1;
}

void JsonlReader::read_row(const json& object) {
  if (!open_) return fail("seq", "a row before its sequence line", "begin with {\"seq\":0,...}");
  if (whole_at(object, "seq", ~std::uint64_t{0}) != number_)
    fail("seq", fmt::format("is not {}, the sequence above", number_),
         "rows follow the line of their sequence");
  read_phase(object);
  read_position(object);
  ++sequences_.back().rows;
  ++rows_;
  if (read_ids(object["e"])) read_weights(object);
}

bool JsonlReader::read_ids(const json& layers) {
  const auto experts = static_cast<std::uint64_t>(shape_.experts);
  const auto top_k = static_cast<std::size_t>(shape_.top_k);
  JsonStep path[] = {"e", std::size_t{0}, std::size_t{0}};
  const auto bad = [&](std::size_t depth, const std::string& problem) {
    fail_at(std::span(path).first(depth), "e", problem,
            fmt::format("{} lists of {} distinct ids below {}", shape_.layers, top_k, experts));
    return false;
  };
  if (!layers.is_array() || layers.size() != static_cast<std::size_t>(shape_.layers))
    return bad(1, fmt::format("is not a list of {} layers", shape_.layers));
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    const json& list = layers[layer];
    path[1] = layer;
    if (!list.is_array() || list.size() != top_k)
      return bad(2, fmt::format("layer {} is not a list of {} ids", layer, top_k));
    for (std::size_t rank = 0; rank < top_k; ++rank) {
      const json& id = list[rank];
      path[2] = rank;
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= experts)
        return bad(3, fmt::format("layer {}: {} is no expert", layer, shown(id.dump())));
      const auto value = id.get<std::uint16_t>();
      const auto begin = ids_.end() - static_cast<std::ptrdiff_t>(rank);
      if (std::find(begin, ids_.end(), value) != ids_.end())
        return bad(3, fmt::format("layer {}: expert {} twice", layer, value));
      ids_.push_back(value);
    }
  }
  return true;
}

void JsonlReader::read_weights(const json& object) {
  const auto at = object.find("w");
  const bool all_so_far = weights_.size() + static_cast<std::size_t>(shape_.layers) *
                                                static_cast<std::size_t>(shape_.top_k) ==
                          ids_.size();
  if (at == object.end()) {
    if (!weights_.empty()) fail("w", "is missing", "give weights in all rows or in none");
    return;
  }
  JsonStep path[] = {"w", std::size_t{0}, std::size_t{0}};
  const auto bad = [&](std::size_t depth) {
    fail_at(std::span(path).first(depth), "w",
            "is not a weight for every id of e, in all rows or in none",
            "numbers from 0 on, in lists as in e");
  };
  if (!all_so_far || !at->is_array() || at->size() != static_cast<std::size_t>(shape_.layers))
    return bad(1);
  for (std::size_t layer = 0; layer < at->size(); ++layer) {
    const json& list = (*at)[layer];
    path[1] = layer;
    if (!list.is_array() || list.size() != static_cast<std::size_t>(shape_.top_k)) return bad(2);
    double most = 0, last = 1e30;
    for (std::size_t rank = 0; rank < list.size(); ++rank) {
      const json& weight = list[rank];
      path[2] = rank;
      if (!weight.is_number() || !(weight.get<double>() >= 0 && weight.get<double>() < 1e30))
        return bad(3);
      weights_.push_back(weight.get<float>());
      if (ranked_ && weight.get<double>() > last)
        fail_at(path, "w", fmt::format("layer {}: {} after {}", layer, weight.dump(), last),
                "ranked ids fall in weight: sort them, or write \"ranked\":false");
      last = weight.get<double>();
      most = std::max(most, last);
    }
    if (most == 0)
      fail_at(std::span(path).first(2), "w", fmt::format("layer {}: no weight is above 0", layer),
              "leave w out where weights were not recorded");
  }
}

RoutingTable JsonlReader::finish() {
  RoutingTable table(shape_, rows_);
  std::size_t at = 0;
  for (std::uint64_t row = 0; row < rows_; ++row) {
    for (int layer = 0; layer < shape_.layers; ++layer) {
      for (int rank = 0; rank < shape_.top_k; ++rank) table.set(row, layer, rank, ids_[at++]);
    }
  }
  table.sequences = std::move(sequences_);
  table.sequences_with_gaps = gaps_;
  const bool nameless = about_.domains.size() == 1 && about_.domains.front().name.empty() &&
                        about_.domains.front().group.empty();
  if (!nameless) table.domains = std::move(about_.domains);
  table.weights = std::move(weights_);
  table.ranked = ranked_;
  table.physical = physical_;
  table.shared_experts = shared_experts_;
  table.layer_ids = std::move(about_.layer_ids);
  table.model = std::move(about_.model);
  table.metadata = std::move(about_.rest);
  return table;
}

}  // namespace

RoutingTable read_routing_jsonl(std::string_view text, const std::string& name) {
  return JsonlReader(text, name).run();
}

}  // namespace moesim

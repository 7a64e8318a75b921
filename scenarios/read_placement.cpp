#include <filesystem>
#include <fmt/format.h>

#include "scenarios/load_parts.h"

namespace moesim {
namespace {

constexpr Range kSteps{.min = 1, .max = 1e9}, kInterval{.min = 0, .max = 1e9};

/// A balancer that never runs again after the start.
void check_fixed(Reader& in, const PlacementSpec& placement) {
  for (const char* key : {"window_size", "use_async"}) {
    if (in.has(key))
      in.fail(key, "has no effect: step_interval 0 leaves experts where they start",
              "leave it out");
  }
  if (placement.init_expert_location == "trivial") {
    in.fail("step_interval", "0 leaves experts where they start, and nothing says where that is",
            "write init_expert_location: routing, or the file of loads to plan on");
  }
}

/// SGLang's --eplb-rebalance-num-iterations; vLLM's step_interval is the struct's own
/// (serving-semantics 3.7).
constexpr int kSglangInterval = 1000;

/// What an engine does unless told otherwise.
PlacementSpec first_placement_of(const std::string& backend) {
  PlacementSpec placement;
  if (backend == "sglang") placement.step_interval = kSglangInterval;
  return placement;
}

/// The numbers of EPLB, under `eplb` or vLLM's `eplb_config`.
void read_eplb(Reader in, PlacementSpec& placement, LoadContext& context) {
  placement.num_redundant_experts =
      static_cast<int>(in.integer_or("num_redundant_experts", 0, {.min = 0, .max = 4096}));
  placement.window_size =
      static_cast<int>(in.integer_or("window_size", placement.window_size, kSteps));
  placement.step_interval =
      static_cast<int>(in.integer_or("step_interval", placement.step_interval, kInterval));
  placement.use_async = in.boolean_or("use_async", false);
  std::string& init = placement.init_expert_location;
  init = in.text_or("init_expert_location", init);
  if (init != "trivial" && init != "routing")
    init = context.file(in, "init_expert_location").string();
  if (placement.step_interval == 0) {
    check_fixed(in, placement);
  } else if (placement.window_size > placement.step_interval) {
    in.fail("window_size",
            fmt::format("{} steps are more than step_interval, {}", placement.window_size,
                        placement.step_interval),
            "steps before the last rebalance ran under another placement: write at most the "
            "interval");
  }
  in.reject_unknown_keys();
}

void read_map(Reader in, PlacementSpec& placement, LoadContext& context) {
  const bool file = in.has("file");
  const bool eplb = in.has("eplb");
  if (file == eplb) {
    in.fail("", file ? "file and eplb are two placements" : "names no placement",
            "write one of linear, round_robin, {file: PATH}, {eplb: {...}}");
  }
  if (file) {
    placement.name = "file";
    placement.file = context.file(in, "file").string();
  }
  if (eplb) {
    placement.name = "eplb";
    read_eplb(in.map("eplb"), placement, context);
  }
  in.reject_unknown_keys();
}

/// A placement that is one word; those that need more say how they are written.
std::string read_word(Reader& root, const std::string& key) {
  const std::string word = root.is_text(key) ? root.text(key) : "";
  if (word == "eplb") {
    root.fail(key, "eplb is a mapping of its own", "write {eplb: {num_redundant_experts: 8}}");
  } else if (word == "file") {
    root.fail(key, "file names no file", "write {file: PATH}");
  } else {
    return root.choice_or(key, {"linear", "round_robin"}, "linear");
  }
  return "linear";
}

}  // namespace

Given<PlacementSpec> read_placement_flags(Reader& engine, LoadContext& context) {
  Given<PlacementSpec> given;
  const auto note = [&](const char* key) {
    if (given.key.empty()) {
      given.key = engine.path(key);
      given.where = engine.where(key);
    }
  };
  PlacementSpec placement =
      first_placement_of(engine.is_text("backend") ? engine.text("backend") : "");
  bool any = false;
  if (engine.has("expert_placement_strategy")) {
    note("expert_placement_strategy");
    const std::string text = engine.text_or("expert_placement_strategy", "linear");
    constexpr std::string_view kFile = "file:";
    if (text.starts_with(kFile)) {
      placement.name = "file";
      placement.file =
          (context.folder(engine.where("expert_placement_strategy")) / text.substr(kFile.size()))
              .lexically_normal()
              .string();
      std::error_code error;
      if (!std::filesystem::is_regular_file(placement.file, error)) {
        engine.fail("expert_placement_strategy",
                    fmt::format("there is no file '{}'", placement.file),
                    "paths in a scenario start at its folder, paths of --set at the current one");
      }
    } else {
      placement.name =
          engine.choice_or("expert_placement_strategy", {"linear", "round_robin"}, "linear");
    }
    any = placement.name != "linear";
  }
  const bool eplb = engine.boolean_or("enable_eplb", false);
  if (eplb) {
    note("enable_eplb");
    if (any) {
      engine.fail("enable_eplb", "places experts itself: expert_placement_strategy has no effect",
                  "leave one of the two out");
    }
    placement.name = "eplb";
    any = true;
  }
  if (engine.has("eplb_config")) {
    note("eplb_config");
    if (!eplb) engine.fail("eplb_config", "has no effect without enable_eplb: true", "turn it on");
    read_eplb(engine.map("eplb_config"), placement, context);
  }
  if (any) given.value = placement;
  return given;
}

Given<PlacementSpec> read_placement(Reader& root, const EngineKeys& engine, LoadContext& context) {
  const std::string key = "placement";
  Given<PlacementSpec> given{.value = {}, .key = key, .where = root.where(key)};
  if (root.has(key)) {
    if (engine.placement) {
      root.fail(key, fmt::format("says the same as {}", engine.placement.key),
                "leave one of the two out");
    }
    PlacementSpec placement = first_placement_of(engine.backend ? *engine.backend.value : "");
    if (root.is_map(key)) {
      read_map(root.map(key), placement, context);
    } else {
      placement.name = read_word(root, key);
    }
    given.value = placement;
  } else if (engine.placement) {
    given = engine.placement;
  }
  context.resolve(key, given ? given.value->name : "linear",
                  given ? context.source(given.where) : "default");
  return given;
}

}  // namespace moesim

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "hardware/profile.h"
#include "hardware/topology.h"
#include "scenarios/load_parts.h"

namespace moesim {
namespace {

/// Presets in the order of NetworkPreset.
const std::vector<std::string> kPresets = {"single_node", "rail_optimized", "leaf_spine",
                                           "fat_tree", "explicit"};

std::optional<SystemSpec> find_system(Reader& in, LoadContext& context) {
  const std::string key = "profile";
  const std::string name = in.text(key);
  if (name.empty()) return std::nullopt;  // reported already
  const Where where = in.where(key);
  const std::filesystem::path folder = context.folder(where);
  const std::string cached = folder.string() + "\n" + name;
  const auto found = context.cache.systems.find(cached);
  if (found != context.cache.systems.end()) return found->second;
  try {
    return context.cache.systems.emplace(cached, load_system(name, folder, where)).first->second;
  } catch (const InputError& error) {
    context.report(error, in, key);
    return std::nullopt;
  }
}

LinkSpec find_link(Reader& in, const std::string& key, LoadContext& context) {
  const std::string name = in.text(key);
  if (name.empty()) return {};  // reported already
  try {
    return load_link(name, in.where(key));
  } catch (const InputError& error) {
    context.report(error, in, key);
    return {};
  }
}

/// A row of hardware/links.yaml by name, or {gbitps:, latency_us:, efficiency:}.
LinkSpec read_link(Reader& in, const std::string& key, LoadContext& context) {
  if (!in.is_map(key)) return find_link(in, key, context);
  LinkSpec link;
  Reader own = in.map(key);
  link.name = "own";
  link.source = "scenario";
  // Gigabit per second, one direction: 1e9 bits = 1.25e8 bytes.
  link.bandwidth = BytesPerSecond(own.number("gbitps", {.min = 0.1, .max = 1e5}) * 1.25e8);
  link.latency = Seconds(own.number("latency_us", {.min = 0.01, .max = 1e6}) * 1e-6);
  link.efficiency = own.number_or("efficiency", 1, {.min = 0.01, .max = 1});
  own.reject_unknown_keys();
  return link;
}

struct NodeEntry {
  NodeGroup group;
  KernelSource kernels;
  bool complete = false;
};

/// A profile's file. Curves of another system would be found after all of this one's, if at all.
std::filesystem::path read_profile_file(Reader& in, const std::string& system,
                                        LoadContext& context) {
  const std::filesystem::path file = context.file(in, "kernels");
  std::error_code none;
  if (!std::filesystem::is_regular_file(file, none)) return file;  // reported already
  try {
    const KernelProfile profile = load_profile(file);
    if (!system.empty() && profile.system != system)
      in.fail("kernels", fmt::format("a profile of {}, and the node is {}", profile.system, system),
              "name one of this system, or write auto, which borrows from others what it lacks");
  } catch (const InputError& error) {
    context.report(error, in, "kernels");
  }
  return file;
}

/// auto, roofline, the name of a shipped profile of the system, or a file.
KernelSource read_kernels(Reader& in, const std::string& system, LoadContext& context) {
  KernelSource source;
  source.name = in.text_or("kernels", "auto");
  source.roofline = source.name == "roofline";
  if (source.roofline || source.name == "auto") return source;
  std::vector<std::string> known{"auto", "roofline"};
  for (const ProfileName& shipped : shipped_profiles()) {
    if (shipped.system != system) continue;
    known.push_back(shipped.framework + "-" + shipped.version);
    if (known.back() == source.name) source.file = shipped.file;
  }
  if (!source.file.empty()) return source;
  if (source.name.ends_with(".json")) {
    source.file = read_profile_file(in, system, context);
  } else {
    in.fail("kernels", "unknown kernel profile '" + source.name + "'",
            nearest_name_hint(source.name, known));
  }
  return source;
}

NodeEntry read_node(Reader& in, LoadContext& context) {
  NodeEntry entry;
  if (auto system = find_system(in, context)) {
    entry.group.system = *std::move(system);
    entry.complete = true;
  }
  entry.kernels = read_kernels(in, entry.group.system.name, context);
  entry.group.count = static_cast<int>(in.integer_or("count", 1, {.min = 1, .max = 10000}));
  const int usual = entry.complete ? entry.group.system.node.gpus : entry.group.gpus;
  entry.group.gpus = static_cast<int>(in.integer_or("gpus", usual, {.min = 1, .max = 256}));
  if (entry.complete && entry.group.gpus > usual) {
    context.warnings.push_back(fmt::format(
        "{}: {} GPUs in a node, where one of {} has {}: their link is taken to join all of them at "
        "its full rate, though no such node is known",
        in.path("gpus"), entry.group.gpus, entry.group.system.name, usual));
  }
  in.reject_unknown_keys();
  return entry;
}

void read_graph(Reader& in, NetworkSpec& network, LoadContext& context) {
  Reader graph = in.map("graph");
  for (const std::string& name : graph.texts_or_empty("vertices"))
    network.vertices.push_back({name});
  const bool common = in.has("link");
  for (Reader& edge : graph.maps("edges")) {
    ExplicitEdge result;
    result.from = edge.text("from");
    result.to = edge.text("to");
    result.link = common && !edge.has("link") ? network.link : read_link(edge, "link", context);
    edge.reject_unknown_keys();
    network.edges.push_back(std::move(result));
  }
  graph.reject_unknown_keys();
}

/// Keys that say nothing where the preset does not use them.
void reject_useless(Reader& in, const std::vector<std::string>& keys, const std::string& preset) {
  for (const std::string& key : keys) {
    if (in.has(key))
      in.fail(key, "has no effect with preset: " + preset,
              "leave it out, or choose another preset");
  }
}

NetworkSpec read_network(Reader& in, LoadContext& context) {
  NetworkSpec network;
  const std::string preset = in.choice_or("preset", kPresets, "single_node");
  network.preset =
      static_cast<NetworkPreset>(std::ranges::find(kPresets, preset) - kPresets.begin());
  const bool is_explicit = network.preset == NetworkPreset::kExplicit;
  const bool known = !in.faulty("preset");
  const bool single = known && network.preset == NetworkPreset::kSingleNode;
  const bool needs_link = known && !single && !is_explicit;
  if (needs_link || (!single && in.has("link"))) network.link = read_link(in, "link", context);
  network.nics_per_node =
      static_cast<int>(in.integer_or("nics_per_node", 0, {.min = 1, .max = 64}));
  network.oversubscription = in.number_or("oversubscription", 1, {.min = 1, .max = 64});
  if (is_explicit || (!known && in.is_map("graph"))) read_graph(in, network, context);
  if (single) reject_useless(in, {"link", "nics_per_node", "oversubscription", "graph"}, preset);
  if (is_explicit) reject_useless(in, {"nics_per_node", "oversubscription"}, preset);
  if (known && !is_explicit && !single && in.is_map("graph")) reject_useless(in, {"graph"}, preset);
  in.ignore("link");
  in.ignore("graph");
  in.reject_unknown_keys();
  return network;
}

/// A graph whose edges name nobody, or that leaves GPUs apart, is found by building it.
void check_graph(const ClusterSpec& cluster, Reader& network, LoadContext& context) {
  try {
    static_cast<void>(Topology(cluster));
  } catch (const InputError& error) {
    for (Diagnostic diagnostic : error.diagnostics()) {
      const std::string prefix = network.path() + ".";
      if (diagnostic.key.starts_with(prefix)) {
        const std::string key = diagnostic.key.substr(prefix.size());
        // A name or a link that could not be read.
        if (network.faulty(key) || (key.ends_with(".link") && network.faulty("link"))) continue;
        diagnostic.where = network.where(key);
      }
      context.diagnostics.add(std::move(diagnostic));
    }
  }
}

}  // namespace

SystemSection read_system(Reader in, LoadContext& context) {
  SystemSection section;
  section.complete = true;
  for (Reader& node : in.maps("nodes")) {
    NodeEntry entry = read_node(node, context);
    section.complete = section.complete && entry.complete;
    section.kernels.push_back(entry.kernels);
    section.cluster.nodes.push_back(std::move(entry.group));
  }
  section.complete = section.complete && !section.cluster.nodes.empty();
  Reader network = in.map_or_empty("network");
  section.cluster.network = read_network(network, context);
  if (section.complete && section.cluster.network.preset == NetworkPreset::kExplicit)
    check_graph(section.cluster, network, context);
  in.reject_unknown_keys();
  return section;
}

}  // namespace moesim

// Static batches worked out by hand: every prompt padded to the longest, everybody decodes until
// the longest output is done, all answers return then.
#include <doctest/doctest.h>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/small_cluster.h"

using namespace moesim;

namespace {

SmallCluster static_cluster(int max_num_seqs = 2, std::int64_t blocks = 1000) {
  SmallCluster cluster;
  cluster.scheduler = "static_batch";
  cluster.limits.max_num_seqs = max_num_seqs;
  cluster.blocks = blocks;
  return cluster;
}

/// A line per step: time of its start; prompts as request:padded length; decodes as count@context
/// summed over them; tokens out; running+waiting; blocks.
std::string steps_of(const SmallRun& run) {
  std::ostringstream out;
  for (std::size_t i = 0; i < run.recorder().steps.size(); ++i) {
    const StepRecord& step = run.recorder().steps[i];
    const FormulaSteps::Seen& seen = run.seen(0)[i];
    out << step.gpu_start << ":";
    for (const PromptChunk& chunk : seen.chunks) out << " " << chunk.request << ":" << chunk.tokens;
    if (seen.decodes > 0) out << " " << seen.decodes << "@" << seen.context;
    out << " ->" << step.tokens_out << " " << step.running << "+" << step.waiting << " ="
        << step.kv_blocks_used << "\n";
  }
  return out.str();
}

}  // namespace

TEST_CASE("batches start together, are padded, and end together") {
  struct Case {
    std::string why;
    int max_num_seqs;
    std::int64_t blocks;
    std::vector<Ask> requests;
    std::string steps;
    std::vector<SimTime> first_token, finish;
  };
  const Case cases[] = {
      {"one request: its prompt samples the first token; 6 tokens fill 2 blocks of 4",
       2,
       1000,
       {{0, 4, 2}},
       "0: 0:4 ->1 1+0 =2\n"
       "1000: 1@5 ->1 1+0 =2\n",
       {1000},
       {2000}},
      {"two of 4 and 10: both computed as 10, both held for 10 + 3 tokens; the second needs one "
       "token, the rest of its decodes is wasted, and it returns with the first. A third request "
       "waits for the batch, not for a place in it",
       2,
       1000,
       {{0, 4, 3}, {0, 10, 1}, {0, 6, 1}},
       "0: 0:10 1:10 ->2 2+1 =8\n"
       "1000: 2@22 ->1 2+1 =8\n"
       "2000: 2@24 ->1 2+1 =8\n"
       "3000: 2:6 ->1 1+0 =2\n",
       {1000, 1000, 4000},
       {3000, 3000, 4000}},
      {"who arrives while a batch runs waits for its end",
       8,
       1000,
       {{0, 4, 2}, {1, 4, 1}, {1999, 4, 1}, {2001, 4, 1}},
       "0: 0:4 ->1 1+0 =2\n"
       "1000: 1@5 ->1 1+1 =2\n"
       "2000: 1:4 2:4 ->2 2+0 =4\n"
       "3000: 3:4 ->1 1+0 =2\n",
       {1000, 3000, 3000, 4000},
       {2000, 3000, 3000, 4000}},
      {"7 blocks: the second would make it 2 * ceil(13 / 4) = 8",
       8,
       7,
       {{0, 4, 3}, {0, 10, 1}},
       "0: 0:4 ->1 1+1 =2\n"
       "1000: 1@5 ->1 1+1 =2\n"
       "2000: 1@6 ->1 1+1 =2\n"
       "3000: 1:10 ->1 1+0 =3\n",
       {1000, 4000},
       {3000, 4000}},
      {"8 blocks: it fits",
       8,
       8,
       {{0, 4, 3}, {0, 10, 1}},
       "0: 0:10 1:10 ->2 2+0 =8\n"
       "1000: 2@22 ->1 2+0 =8\n"
       "2000: 2@24 ->1 2+0 =8\n",
       {1000, 1000},
       {3000, 3000}},
      {"a head that does not fit holds up a small one behind it",
       8,
       7,
       {{0, 4, 3}, {0, 10, 1}, {0, 1, 1}},
       "0: 0:4 ->1 1+2 =2\n"
       "1000: 1@5 ->1 1+2 =2\n"
       "2000: 1@6 ->1 1+2 =2\n"
       "3000: 1:10 2:10 ->2 2+0 =6\n",
       {1000, 4000, 4000},
       {3000, 4000, 4000}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    const SmallRun run(static_cluster(c.max_num_seqs, c.blocks), asked(c.requests));
    CHECK(steps_of(run) == c.steps);
    CHECK(run.table().first_token == c.first_token);
    CHECK(run.table().finish == c.finish);
    CHECK(run.instance(0).state().kv.free_blocks() == c.blocks);
  }
}

TEST_CASE("only real tokens are counted, at the pace of the batch") {
  const SmallRun run(static_cluster(), asked({{0, 4, 3}, {0, 10, 1}}));
  // Three tokens of the first request, two gaps; one of the second.
  const std::map<SimTime, std::int64_t> two_steps = {{1000, 2}};
  CHECK(run.recorder().gaps == two_steps);
  CHECK(run.table().second_token == std::vector<SimTime>{2000, kNever});
  CHECK(run.table().generated == std::vector<std::uint32_t>{3, 1});
}

TEST_CASE("contexts of a batch are cut by attention windows like everybody's") {
  // Prompts of 5, then decodes that see 6, 7 and 8 tokens, the new one included.
  struct Case {
    std::string why;
    KvGroup group;
    std::vector<std::int64_t> context;
  };
  const Case cases[] = {
      {"full attention sees all", {AttentionKind::kFull, 0, 1}, {6, 7, 8}},
      {"a sliding window of 7", {AttentionKind::kSliding, 7, 1}, {6, 7, 7}},
      {"chunks of 7: the eighth token begins a new one",
       {AttentionKind::kChunked, 7, 1},
       {6, 7, 1}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.why);
    SmallCluster cluster = static_cluster();
    cluster.groups = {c.group};
    const SmallRun run(cluster, asked({{0, 5, 4}}));
    std::vector<std::int64_t> context;
    for (const FormulaSteps::Seen& seen : run.seen(0)) {
      if (seen.decodes > 0) context.push_back(seen.context);
    }
    CHECK(context == c.context);
  }
}

TEST_CASE("a plain loop gains nothing from a second batch in flight") {
  SmallCluster cluster = static_cluster();
  const std::vector<Ask> requests = {{0, 4, 3}, {0, 10, 1}, {0, 6, 2}, {7000, 3, 1}};
  const SmallRun synchronous(cluster, asked(requests));
  cluster.limits.async = true;
  const SmallRun async(cluster, asked(requests));
  CHECK(synchronous.table().finish == async.table().finish);
}

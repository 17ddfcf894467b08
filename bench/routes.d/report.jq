# SPDX-License-Identifier: Apache-2.0
#
# runs.jsonl, slurped -> the tables. Quantiles are interpolated linearly, as in bench/stats.h.

def quantile($q):
    sort | if length == 0 then null else
        ((length - 1) * $q) as $at | ($at | floor) as $i
        | .[$i] + ($at - $i) * ((.[$i + 1] // .[$i]) - .[$i]) end;
def median: quantile(0.5);

def pad($n): tostring | (" " * ([$n - length, 0] | max)) + .;
def fill($n): tostring | . + (" " * ([$n - length, 0] | max));
def fixed($digits): if . == null then "-" else
    (. * pow(10; $digits) | round) as $n
    | ($n | fabs | tostring) as $text
    | (if $n < 0 then "-" else "" end) +
      (if $digits == 0 then $text else
        (if ($text | length) <= $digits then ("0" * ($digits + 1 - ($text | length))) + $text else $text end)
        | .[:-$digits] + "." + .[-$digits:] end) end;

# A run that failed or was blind has no figure.
def counts: select(.round > 0 and (.marks | test("[fb]") | not));

# Resamples the rounds, with replacement: [low, high] of 95 % of 1000 quotients of the medians.
def bootstrap:
    . as $pairs | length as $n
    | if $n < 3 then [null, null] else
        reduce range(1000) as $_ ({state: 20261125, quotients: []};
            reduce range($n) as $_ (.a = [] | .b = [];
                .state = (.state * 16807) % 2147483647
                | $pairs[.state % $n] as [$x, $y] | .a += [$x] | .b += [$y])
            | .quotients += [(.a | median) / (.b | median)])
        | .quotients | [quantile(0.025), quantile(0.975)] end;

# The runs of two labels in the same round.
def pairs($runs; $a; $b):
    [$runs[] | select(.label == $a) | {key: "\(.round)", value: .silence_ms}] | from_entries as $of_a
    | [$runs[] | select(.label == $b and $of_a["\(.round)"] != null) | [$of_a["\(.round)"], .silence_ms]];

def ratio_line($runs; $a; $b):
    [$runs[] | select(.label == $a) | .silence_ms] as $of_a
    | [$runs[] | select(.label == $b) | .silence_ms] as $of_b
    | if ($of_a | length) == 0 or ($of_b | length) == 0 then empty else
        pairs($runs; $a; $b) as $pairs | ($pairs | bootstrap) as [$low, $high]
        | ([$pairs[] | .[0] / .[1]]) as $each
        | "  " + ("\($a) / \($b)" | fill(26)) + ((($of_a | median) / ($of_b | median)) | fixed(2) | pad(7))
          + ("\($low | fixed(2))-\($high | fixed(2))" | pad(13)) + ($each | median | fixed(2) | pad(9))
          + ("\($each | quantile(0.25) | fixed(2))-\($each | quantile(0.75) | fixed(2))" | pad(13))
          + ((($of_a | quantile(0.95)) / ($of_b | quantile(0.95))) | fixed(2) | pad(9)) end;

def verdict($what; $is; $limit):
    if $is == null or $limit == null then empty else
        "  \($what): \($is | fixed(1)) of at most \($limit | fixed(1)): \(if $is <= $limit then "yes" else "NO" end)" end;

(.[0].about) as $about
| [.[] | select(.label)] as $all
| [$all[] | counts] as $runs
| (reduce $all[].label as $tag ([]; if index([$tag]) then . else . + [$tag] end)) as $seen
| (["floor", "direct", "native", "virsh", "virsh-default"]) as $order
| ($seen | sort_by([(split("@")[0] as $name | $order | index($name)),
                    (split("@")[1] // "0ms" | rtrimstr("ms") | tonumber)])) as $labels
| (reduce $labels[] as $tag ({}; .[$tag] = [$runs[] | select(.label == $tag)])) as $by
| def silences($tag): [$by[$tag][]?.silence_ms];
  def totals($tag): [$by[$tag][]?.total_ms];

"\($about.guest) guest (\($about.options)), \($about.date), seed \($about.seed), \($about.rounds) rounds",
"QEMU \($about.qemu), libvirt \($about.libvirt), \($about.godwit), \($about.kernel), \($about.cores) cores of \($about.cpu)",
"load \([$all[].load_1m] | "\(min) to \(max)")",
"",
"silence, ms            n marked     min  median     p95     max  switch   QEMU   total",
"                                                                median median  median",
($labels[] | . as $tag | $by[$tag] as $mine
 | ($tag | fill(20)) + ($mine | length | pad(4))
   + ([$all[] | select(.label == $tag and .round > 0 and .marks != "")] | length | pad(7))
   + ([silences($tag) | min, median, quantile(0.95), max] | map(fixed(1) | pad(8)) | join(""))
   + ([$mine[].switch_ms] | median | fixed(1) | pad(8))
   + ([$mine[].qemu_downtime_ms | values] | median | fixed(0) | pad(7))
   + (totals($tag) | median | fixed(0) | pad(8))),
"",
"All silences, sorted, in ms, with the marks (bench/routes --help):",
($labels[] | . as $tag
 | "  \($tag | fill(20))" + ([$all[] | select(.label == $tag and .round > 0)]
    | sort_by(.silence_ms) | map("\(.silence_ms | fixed(1))\(.marks)") | join(" "))),
"",
"In force, read from QEMU during the warm-up (before it, where nothing was read during it):",
($labels[] | . as $tag | [$all[] | select(.label == $tag and .round == 0)][0]
 | select(. != null)
 | "  \($tag | fill(20))" + ((.settings.during // .settings.before // {})
    | "downtime-limit \(.downtime_limit_ms) ms, max-bandwidth \(.max_bandwidth_bytes_per_s) B/s (0 and 2^63 - 2^20: no limit)")
   + (if .settings.during == null then "; before" else "" end)
   + (if .settings.said_limit_ms then "; godwit says \(.settings.said_limit_ms) ms" else "" end)),
"",
([("direct", "native") as $route | ("floor", "virsh", "virsh-default") as $peer | ratio_line($runs; $route; $peer)]
 + [ratio_line($runs; "virsh"; "floor"), ratio_line($runs; "virsh-default"; "floor")]
 | select(length > 0)
 | "Quotients               of medians  95 % of it  of rounds    quartiles   of p95", .[], ""),
([verdict("median silence of direct against 1.10 x floor"; silences("direct") | median;
    silences("floor") | median | values * 1.1),
  verdict("median silence of direct against virsh"; silences("direct") | median; silences("virsh") | median),
  verdict("p95 of direct against half of that of virsh-default"; silences("direct") | quantile(0.95);
    silences("virsh-default") | quantile(0.95) | values / 2),
  verdict("median total of direct against virsh"; totals("direct") | median; totals("virsh") | median),
  verdict("median total of direct against virsh-default"; totals("direct") | median;
    totals("virsh-default") | median)]
 | select(length > 0) | "Targets:", .[], ""),
([$labels[] | select(contains("@"))] | select(length > 0)
 | "Growth of the median with the round trip, ms:",
   (group_by(split("@")[0])[] | (.[0] | split("@")[0]) as $name
    | sort_by(split("@")[1] | rtrimstr("ms") | tonumber) | . as $mine
    | "  \($name | fill(20))" + ([$mine[] | . as $tag
        | "\($tag | split("@")[1]): \(silences($tag) | median | fixed(1)) "
          + "(\((silences($tag) | median) - (silences($mine[0]) | median) | fixed(1)))"] | join("  ")))),
"Not counted: \([$all[] | select(.round > 0 and (.marks | test("[fb]")))] | length) of \([$all[] | select(.round > 0)] | length) runs, failed or blind."

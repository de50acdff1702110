#!/usr/bin/env bash
# Measures acf on this machine and prints the numbers beside what they aim at. `./setup.sh bench` runs it.
#
#   tests/bench.sh [--json] [--programs DIR]     DIR holds a built acf and acf-worker; otherwise builds them
#
# Where ACF_AGENTS_BIN names the folder of the coding CLIs, as `./setup.sh bench` does, what acf adds around each
# of them is measured too, with a scripted model server.
#
# It is no test: a missed aim is told as MISS and fails nothing. It exits with 1 only where something
# could not be measured.
set -euo pipefail
export LC_ALL=C

readonly LIST_ITEMS=10000
readonly STARTS=21 LISTS=11 OVERHEADS=3 AGENT_ISSUES=5

json=false programs=''
while (($# > 0)); do
  case $1 in
    --json) json=true ;;
    --programs) programs=$(readlink -f "${2:?--programs needs a folder}"); shift ;;
    *) echo "usage: tests/bench.sh [--json] [--programs DIR]" >&2; exit 2 ;;
  esac
  shift
done

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
scratch=$(mktemp -d)
idle_worker='' model_server=''
clean_up() {
  if [[ -n $model_server ]]; then
    exec {to_server}>&-
    wait "$model_server" 2>/dev/null || true
  fi
  if [[ -n $idle_worker ]]; then
    kill "$idle_worker" 2>/dev/null || true
    wait "$idle_worker" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*" >&2; }

if [[ -z $programs ]]; then
  say "building for release"
  cargo build --quiet --release --locked --package acf-cli --package acf-worker --bins
  programs=$(cargo metadata --no-deps --format-version 1 --offline |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
fi

# --- results ------------------------------------------------------------------------------------

names=() values=() units=() aims=()
not_measured=0

# record NAME VALUE UNIT [AIM]: an empty value is one that could not be measured, an aim an upper bound.
record() {
  names+=("$1") values+=("$2") units+=("$3") aims+=("${4:-}")
  [[ -n $2 ]] || not_measured=$((not_measured + 1))
}

# verdict VALUE AIM: ok, MISS, not measured, or nothing where nothing is aimed at.
verdict() {
  if [[ -z $1 ]]; then
    echo "not measured"
  elif [[ -n $2 ]]; then
    awk -v value="$1" -v aim="$2" 'BEGIN { print (value <= aim ? "ok" : "MISS") }'
  fi
}

median() { sort -n | awk '{ value[NR] = $1 } END { if (NR) print value[int((NR + 1) / 2)] }'; }
calculate() { awk "BEGIN { printf \"%.${2:-1}f\", $1 }"; }

# --- measuring ----------------------------------------------------------------------------------

# A program sees this environment and nothing of its user's.
hermetic() {
  env -i PATH="$PATH" HOME="$scratch/home" LC_ALL=C NO_COLOR=1 GIT_CONFIG_NOSYSTEM=1 "$@"
}

# median_ms RUNS COMMAND…: wall time, start of the process included; nothing where the command fails.
median_ms() {
  local runs=$1 run before after
  shift
  hermetic "$@" >/dev/null 2>"$scratch/err" || { say "failed: $*"; head -n 5 "$scratch/err" >&2; return 0; }
  for ((run = 0; run < runs; run++)); do
    before=$EPOCHREALTIME
    hermetic "$@" >/dev/null 2>&1 || true
    after=$EPOCHREALTIME
    echo $((${after/./} - ${before/./}))
  done | median | awk '{ printf "%.1f", $1 / 1000 }'
}

# field NAME: a number of the JSON object on standard input.
field() { grep -oE "\"$1\" *: *[0-9.]+" | tail -n 1 | grep -oE '[0-9.]+$' || true; }

# demo ISSUES WORKERS: the totals, as JSON; nothing where it fails.
demo() {
  # Issues that end badly on purpose are part of the demo, so its exit code says nothing here.
  hermetic "$programs/acf" demo --issues "$1" --workers "$2" --json 2>"$scratch/err" >"$scratch/demo.json" || true
  if ! grep -q '"issues"' "$scratch/demo.json"; then
    say "failed: acf demo --issues $1 --workers $2 --json"
    head -n 5 "$scratch/err" >&2
    return 0
  fi
  cat "$scratch/demo.json"
}

measure_starts() {
  say "acf --version, acf issues list"
  awk -v items=$LIST_ITEMS 'BEGIN { for (n = 1; n <= items; n++) printf "- [ ] Item %d [needs-branch]\n  What item %d is about.\n", n, n }' >"$scratch/LONG.md"
  record "acf --version" "$(median_ms $STARTS "$programs/acf" --version)" ms 10
  record "acf issues list, $LIST_ITEMS items" \
    "$(median_ms $LISTS env TASK_MANAGER=todo PROJECT="$scratch/LONG.md" "$programs/acf" issues list)" ms 60
}

measure_overhead() {
  local run totals=() name
  for ((run = 1; run <= OVERHEADS; run++)); do
    say "acf demo, 40 issues, 1 worker ($run of $OVERHEADS)"
    totals+=("$(demo 40 1)")
  done
  median_of() { for name in "${totals[@]}"; do field "$1" <<<"$name"; done | median; }
  local overhead
  overhead=$(median_of overhead_ms_per_issue)
  record "overhead an issue, 1 worker" "$overhead" ms 70
  record "  the same, against its limit" "$overhead" ms 150
  record "git processes an issue" "$(median_of git_processes_per_issue)" ""
  record "git pushes an issue" "$(median_of git_pushes_per_issue)" "" 3
}

measure_throughput() {
  local workers totals wall issues
  local -A rate=()
  for workers in 1 8; do
    say "acf demo, 200 issues, $workers worker(s)"
    totals=$(demo 200 $workers)
    wall=$(field wall_ms <<<"$totals") issues=$(field issues <<<"$totals")
    rate[$workers]=''
    if [[ -n $wall && -n $issues ]]; then rate[$workers]=$(calculate "$issues * 1000 / $wall"); fi
    record "200 issues, $workers worker(s)" "${rate[$workers]}" "issues/s"
    record "  claimed twice" "$(field duplicate_claims <<<"$totals")" "" 0
    record "  landed twice" "$(field duplicate_commits <<<"$totals")" "" 0
  done
  local gain=''
  if [[ -n ${rate[1]} && -n ${rate[8]} ]]; then gain=$(calculate "${rate[8]} / ${rate[1]}"); fi
  record "8 workers against 1" "$gain" "times"
}

resident_kib() { awk '/^VmRSS:/ { print $2 }' "/proc/$1/status" 2>/dev/null || true; }

# A worker counts as idle when its memory has not moved for a second.
measure_idle_worker() {
  say "idle acf-worker"
  mkdir -p "$scratch/idle"
  hermetic git init --quiet --bare --initial-branch=main "$scratch/idle/remote.git"
  printf 'commit refs/heads/main\ncommitter Bench <bench@example.invalid> 0 +0000\ndata 5\nFirst\n' |
    hermetic git -C "$scratch/idle/remote.git" fast-import --quiet
  printf -- '- [x] Done long ago\n' >"$scratch/idle/TODO.md"
  # Exec keeps the id of the background process that of the worker.
  (
    exec env -i PATH="$PATH" HOME="$scratch/home" LC_ALL=C GIT_CONFIG_NOSYSTEM=1 \
      TASK_MANAGER=todo PROJECT="$scratch/idle/TODO.md" GIT_REPO_URL="file://$scratch/idle/remote.git" \
      AGENT=script LOOP_WORK_DIR="$scratch/idle/work" "$programs/acf-worker" >"$scratch/idle/log" 2>&1
  ) &
  idle_worker=$!
  local memory='' last='' unmoved=0 tries
  for ((tries = 0; tries < 100 && unmoved < 10; tries++)); do
    sleep 0.1
    memory=$(resident_kib "$idle_worker")
    [[ -n $memory ]] || break
    if [[ $memory == "$last" ]]; then unmoved=$((unmoved + 1)); else unmoved=0; fi
    last=$memory
  done
  if [[ -z $memory ]]; then
    say "acf-worker ended by itself:"
    head -n 10 "$scratch/idle/log" >&2
    idle_worker=''
  else
    memory=$(calculate "$memory * 1024 / 1000000")
  fi
  record "idle acf-worker, resident" "$memory" MB 12
}

# Starts the model server, which itself is not measured, and leaves its address in `model_url`.
start_model_server() {
  cargo build --quiet --locked --package acf-tests --bin model-server
  local target
  target=$(cargo metadata --no-deps --format-version 1 --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
  mkfifo "$scratch/to-server" "$scratch/from-server"
  "$target/debug/model-server" 'date +%N > hello.txt' <"$scratch/to-server" >"$scratch/from-server" &
  model_server=$!
  # It ends when this end of the pipe is closed.
  exec {to_server}>"$scratch/to-server"
  read -r model_url <"$scratch/from-server"
}

# What each CLI is told of the model server, and of keys that open nothing.
agent_settings() {
  local home=$1
  case $2 in
    claude) echo IS_SANDBOX=1 ANTHROPIC_API_KEY=none ANTHROPIC_BASE_URL="$model_url" CLAUDE_MODEL=claude-sonnet-4-6 ;;
    codex)
      mkdir -p "$home/.codex"
      printf 'model_provider = "scripted"\n[model_providers.scripted]\nname = "scripted"\nenv_key = "CODEX_API_KEY"\nwire_api = "responses"\nbase_url = "%s/v1"\n' "$model_url" >"$home/.codex/config.toml"
      echo CODEX_API_KEY=none CODEX_MODEL=gpt-5-codex
      ;;
    copilot) echo COPILOT_PROVIDER_API_KEY=none COPILOT_PROVIDER_BASE_URL="$model_url/v1" COPILOT_OFFLINE=true COPILOT_MODEL=gpt-5-mini ;;
    gemini) echo GEMINI_API_KEY=none GOOGLE_GEMINI_BASE_URL="$model_url" GEMINI_MODEL=gemini-2.5-flash ;;
    opencode)
      printf '{"provider":{"scripted":{"npm":"@ai-sdk/openai-compatible","options":{"baseURL":"%s/v1","apiKey":"{env:OPENAI_API_KEY}"},"models":{"m1":{}}}}}' "$model_url" >"$home/opencode.json"
      echo OPENAI_API_KEY=none OPENCODE_CONFIG="$home/opencode.json" OPENCODE_MODEL=scripted/m1
      ;;
  esac
}

# The time of a run that is not spent in the agent's own process, the median of some issues.
measure_agents() {
  if [[ -z ${ACF_AGENTS_BIN:-} ]]; then
    say "SKIPPED: what acf adds around the coding CLIs, as ACF_AGENTS_BIN is not set"
    return 0
  fi
  start_model_server
  local agent room settings more overhead
  for agent in claude codex copilot gemini opencode; do
    say "acf worker, $AGENT_ISSUES issues, $agent"
    room=$scratch/$agent
    mkdir -p "$room/home"
    hermetic git init --quiet --bare --initial-branch=main "$room/remote.git"
    printf 'commit refs/heads/main\ncommitter Bench <bench@example.invalid> 0 +0000\ndata 5\nFirst\n' |
      hermetic git -C "$room/remote.git" fast-import --quiet
    awk -v issues=$AGENT_ISSUES 'BEGIN { for (n = 1; n <= issues; n++) print "- [ ] Issue " n }' >"$room/TODO.md"
    settings=("PATH=$ACF_AGENTS_BIN:$PATH" "HOME=$room/home" "AGENT=$agent" "PROJECT=$room/TODO.md"
      "GIT_REPO_URL=$room/remote.git" "LOOP_WORK_DIR=$room/work")
    read -r -a more <<<"$(agent_settings "$room/home" "$agent")"
    settings+=("${more[@]}")
    if ! hermetic env "${settings[@]}" "$programs/acf" worker --exit-when-idle >"$scratch/err" 2>&1; then
      say "failed: AGENT=$agent acf worker"
      tail -n 5 "$scratch/err" >&2
    fi
    overhead=$(hermetic env "${settings[@]}" "$programs/acf" runs --json 2>/dev/null | own_time | median)
    record "overhead around $agent" "$overhead" ms
  done
}

# The milliseconds of each run on standard input, JSON, that were not its agent's.
own_time() {
  grep -oE '"(agent_ms|duration_ms)": *[0-9]+' | tr -d ' "' | awk -F: '
    $1 == "agent_ms" { agent = $2; waits = 1 }
    $1 == "duration_ms" && waits { print $2 - agent; waits = 0 }'
}

measure_sizes() {
  local program aim
  for program in acf-worker acf; do
    aim=''
    if [[ $program == acf-worker ]]; then aim=8; fi
    cp "$programs/$program" "$scratch/$program"
    strip "$scratch/$program" 2>/dev/null || true
    record "$program, stripped" "$(calculate "$(stat --format=%s "$scratch/$program") / 1000000")" MB "$aim"
  done
}

mkdir -p "$scratch/home"
measure_starts
measure_overhead
measure_throughput
measure_agents
measure_idle_worker
measure_sizes

# --- printing -----------------------------------------------------------------------------------

cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1 | tr --delete '"')
cpu=${cpu:-$(uname -m)}
cores=$(nproc)
memory_gb=$(awk '/^MemTotal:/ { printf "%.0f", $2 * 1024 / 1e9 }' /proc/meminfo)
kernel=$(uname -sr)
git_version=$(git --version)
rust_version=$(rustc --version)

print_table() {
  printf '%s, %s cores, %s GB, %s, %s, %s\n\n' "$cpu" "$cores" "$memory_gb" "$kernel" "$git_version" "$rust_version"
  printf '%-34s %10s %-9s %10s  %s\n' measure value unit "aim, up to" verdict
  local row
  for row in "${!names[@]}"; do
    printf '%-34s %10s %-9s %10s  %s\n' "${names[row]}" "${values[row]:--}" "${units[row]}" \
      "${aims[row]}" "$(verdict "${values[row]}" "${aims[row]}")"
  done | sed 's/ *$//'
}

print_json() {
  printf '{\n  "machine": {"cpu": "%s", "cores": %s, "memory_gb": %s, "kernel": "%s", "git": "%s", "rust": "%s"},\n' \
    "$cpu" "$cores" "$memory_gb" "$kernel" "$git_version" "$rust_version"
  printf '  "measures": ['
  local row separator=$'\n' context='' name met
  for row in "${!names[@]}"; do
    name=${names[row]}
    # An indented row of the table belongs to the one above.
    if [[ $name == '  '* ]]; then name="$context: ${name#  }"; else context=$name; fi
    case $(verdict "${values[row]}" "${aims[row]}") in
      ok) met=true ;;
      MISS) met=false ;;
      *) met=null ;;
    esac
    printf '%s    {"name": "%s", "value": %s, "unit": "%s", "aim": %s, "met": %s}' "$separator" \
      "$name" "${values[row]:-null}" "${units[row]}" "${aims[row]:-null}" $met
    separator=$',\n'
  done
  printf '\n  ]\n}\n'
}

if $json; then print_json; else print_table; fi
((not_measured == 0)) || { say "$not_measured numbers could not be measured; see above"; exit 1; }

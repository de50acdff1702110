#!/usr/bin/env bash
# Takes a fresh Debian or Ubuntu machine to a running acf. `./setup.sh help` lists what it can do.
#
# It looks first, says what is missing and what it would run, and asks before it changes the machine.
# Talk goes to standard error. Nothing is left in the background.
set -euo pipefail

readonly MIN_GIT=2.38 # git merge-tree --write-tree
readonly MIN_RUST=1.89
readonly MIN_NEXTEST=0.9.98 # reads .config/nextest.toml
readonly LINKS=(loop implement plan factory task-manager agent)

invoked_from=$PWD
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

# With a trap, bash waits for the running command before it goes: no orphan is left building.
trap 'exit 130' INT
trap 'exit 143' TERM

if [[ -t 2 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
  bold='' green='' red='' plain=''
fi

usage() {
  cat <<'TEXT'
Usage: ./setup.sh VERB [--yes] [ARGUMENTS]

  demo [ARGUMENTS]      build acf and run `acf demo ARGUMENTS`: no credentials, no services
  test [-- ARGUMENTS]   install what the tests need and run all checks; ARGUMENTS go to cargo nextest
  bench [--json]        build for release and measure: speed, memory, size
  install [--prefix DIR]  build for release, install acf and acf-worker to DIR/bin (default ~/.local)
  help                  this text

  -y, --yes             do not ask; CI=true means the same

What is missing is installed with apt, after asking. Crates come from crates.io.
TEXT
}

# --- talking ------------------------------------------------------------------------------------

say() { printf '%s\n' "$*" >&2; }
step() { say "${bold}==> $*${plain}"; }
present() { say "  ${green}✔${plain} $*"; }
absent() { say "  ${red}✘${plain} $*"; }

# die MESSAGE [HINT]: what failed, and what to do about it.
die() {
  say "${red}error:${plain} $1"
  [[ -z ${2:-} ]] || say "hint: $2"
  exit 1
}

# Asks a question whose answer is yes unless somebody says no.
consent() {
  $assume_yes && return
  [[ -t 0 ]] || die "this needs an answer, and there is no terminal to ask on: $1" "pass --yes"
  local answer
  read -r -p "$1 [Y/n] " answer || answer=n
  [[ -z $answer || $answer == [yY]* ]]
}

# Runs a command and shows it; a failure is told with the command's own words, and ends the script.
run() {
  local code=0
  step "$*"
  "$@" || code=$?
  ((code == 0)) || die "failed with exit code $code: $*" "${run_hint:-}"
}

# --- looking ------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANTED, for dotted versions.
at_least() { [[ -n $1 ]] && printf '%s\n%s\n' "$2" "$1" | sort --version-sort --check=quiet; }

account_home() { getent passwd "$(id -u)" | cut -d: -f6; }

# Makes HOME a folder: services and `env -i` start programs without one.
find_home() {
  [[ -n ${HOME:-} && -d ${HOME:-} ]] && return
  HOME=$(account_home || true)
  [[ -d $HOME && -w $HOME ]] || die "HOME is no folder, and this account has none" "HOME=/some/folder ./setup.sh …"
  export HOME
}

cargo_version() { cargo --version 2>/dev/null | awk '{ print $2 }' || true; }

# Finds a toolchain that is there but not in reach: outside PATH, or, where HOME is not the one that it
# was installed for, behind a rustup that knows of none.
find_rust() {
  local folder account
  account=$(account_home || true)
  if ! have cargo; then
    for folder in "$HOME/.cargo/bin" "$account/.cargo/bin" /usr/local/cargo/bin /usr/lib/rust-1.*/bin; do
      # The newest of Debian's versioned folders comes last, and wins.
      if [[ -x $folder/cargo ]]; then PATH=$folder:$PATH; fi
    done
  fi
  have cargo || return 0

  local proxy proxy_home
  proxy=$(command -v cargo)
  proxy_home=$(dirname "$(dirname "$proxy")")
  if [[ -z $(cargo_version) && -z ${RUSTUP_HOME:-} ]]; then
    for folder in "$(dirname "$proxy_home")/.rustup" "$account/.rustup" /usr/local/rustup; do
      if [[ -d $folder/toolchains && -n $(RUSTUP_HOME=$folder cargo_version) ]]; then
        export RUSTUP_HOME=$folder
        say "  using the Rust toolchain of $RUSTUP_HOME"
        break
      fi
    done
  fi
  # The cache of crates lies beside the proxies; a HOME without one would download everything anew.
  if [[ -z ${CARGO_HOME:-} && ! -d $HOME/.cargo && -d $proxy_home/registry && -w $proxy_home/registry ]]; then
    export CARGO_HOME=$proxy_home
    say "  using the crates in $CARGO_HOME"
  fi
}

links_programs() {
  local folder linked=true
  have cc || return 1
  folder=$(mktemp -d)
  printf 'int main(void) { return 0; }\n' >"$folder/main.c"
  cc "$folder/main.c" -o "$folder/main" >/dev/null 2>&1 || linked=false
  rm -r "$folder"
  $linked
}

lighttpd_is_there() { have lighttpd || [[ -x /usr/sbin/lighttpd ]]; }

# Installing needs root.
as_root=(env DEBIAN_FRONTEND=noninteractive)
((EUID == 0)) || as_root=(sudo "${as_root[@]}")

# --- planning -----------------------------------------------------------------------------------
# What is missing becomes packages to install and commands to run after that. Both are shown before
# anything happens.

packages=()
after_packages=()
apt_is_fresh=false

needs_package() {
  have apt-get || die "missing: $1" "install it with this system's package manager; acf's set-up knows only apt"
  packages+=("${@:2}")
}

# Fetches apt's lists where a fresh image has none: what can be planned depends on them.
freshen_apt() {
  $apt_is_fresh && return
  apt_is_fresh=true
  compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null && return
  consent "apt has no package lists yet. Run \`apt-get update\`?" || die "cannot see what apt offers"
  run "${as_root[@]}" apt-get update --quiet=2
}

apt_candidate() {
  LC_ALL=C apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" { print $2 }'
}

plan_git() {
  local version
  version=$(git --version 2>/dev/null | awk '{ print $3 }' || true)
  if at_least "$version" $MIN_GIT; then
    present "git $version"
  elif [[ -z $version ]]; then
    absent "git: not found"
    needs_package "git $MIN_GIT or newer" git
  else
    absent "git $version is too old"
    die "acf needs git $MIN_GIT or newer" "Debian 12 and Ubuntu 24.04 have one; for Ubuntu 22.04 see https://launchpad.net/~git-core/+archive/ubuntu/ppa"
  fi
}

plan_linker() {
  if links_programs; then
    present "C linker ($(cc --version | head -n 1))"
  else
    absent "C linker: cc is missing or links nothing; Rust needs it"
    needs_package "a C linker" gcc libc6-dev
  fi
}

plan_certificates() {
  if have apt-get && [[ -z ${SSL_CERT_FILE:-} && ! -e /etc/ssl/certs/ca-certificates.crt ]]; then
    absent "certificates: crates.io cannot be trusted without them"
    needs_package "certificates" ca-certificates
  fi
}

# plan_rust [COMPONENT…]: the toolchain, and those of clippy and rustfmt that are wanted.
plan_rust() {
  local version components=("$@") component lacking=()
  version=$(cargo_version)
  if ! at_least "$version" $MIN_RUST; then
    absent "Rust $MIN_RUST or newer: ${version:-not found}"
    plan_toolchain "${components[@]}"
    return
  fi
  present "Rust $version"
  for component in "${components[@]}"; do
    if cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1; then
      present "$component"
    else
      absent "$component"
      lacking+=("$component")
    fi
  done
  if ((${#lacking[@]} == 0)); then
    return
  elif have rustup; then
    after_packages+=("rustup component add ${lacking[*]}")
  else
    needs_package "${lacking[*]}" "${lacking[@]/clippy/rust-clippy}"
  fi
}

plan_toolchain() {
  local by_rustup="rustup toolchain install stable --profile minimal" component versioned
  for component in "$@"; do by_rustup+=" --component $component"; done
  local elsewhere="install Rust as https://rustup.rs says, then run this again: it sees to the rest"
  if have rustup; then
    plan_rustup "$by_rustup"
    return
  fi
  have apt-get || die "Rust $MIN_RUST or newer is missing" "$elsewhere"
  freshen_apt
  versioned=$(apt-cache search --names-only '^cargo-1\.[0-9]+$' | awk '{ print $1 }' | sort --version-sort | tail -n 1)
  if [[ -n $(apt_candidate rustup) ]]; then
    packages+=(rustup)
    plan_rustup "$by_rustup"
  elif at_least "$(apt_candidate cargo)" $MIN_RUST; then
    packages+=(cargo "${@/clippy/rust-clippy}")
  elif at_least "${versioned#cargo-}" $MIN_RUST; then
    packages+=("$versioned")
    # Ubuntu keeps versioned toolchains outside PATH, clippy and rustfmt with them.
    if (($# > 0)); then packages+=("${versioned/cargo/rust}-all"); fi
    PATH=/usr/lib/rust-${versioned#cargo-}/bin:$PATH
  else
    die "Rust $MIN_RUST or newer is missing, and apt has only $(apt_candidate cargo || true)" "$elsewhere"
  fi
}

# The user's own default toolchain stays as it is: the new one is chosen for this script alone.
plan_rustup() {
  export RUSTUP_TOOLCHAIN=stable
  after_packages+=("$1")
}

plan_test_tools() {
  if lighttpd_is_there; then
    present "lighttpd, for git over HTTP"
  else
    absent "lighttpd: some tests serve git over HTTP with it"
    needs_package lighttpd lighttpd
  fi
  if have make; then
    present "make"
  else
    absent "make: some tests use it as a gate"
    needs_package make make
  fi
  if have npm; then
    present "npm"
  else
    absent "npm: vendors' descriptions, which requests are held against, come from it"
    needs_package npm npm
  fi
}

# --- installing ---------------------------------------------------------------------------------

carry_out_plan() {
  ((${#packages[@]} + ${#after_packages[@]} > 0)) || return 0
  local sudo='' command install="apt-get install --yes --no-install-recommends ${packages[*]:-}"
  ((EUID == 0)) || sudo='sudo '
  say "This would install what is missing:"
  ((${#packages[@]} == 0)) || say "  $sudo$install"
  for command in "${after_packages[@]}"; do say "  $command"; done
  if [[ -n $sudo && ${#packages[@]} -gt 0 ]] && ! have sudo; then
    die "installing packages needs root, and there is no sudo" "as root: $install"
  fi
  consent "Go on?" || die "nothing was installed"
  ((${#packages[@]} == 0)) || install_packages
  for command in "${after_packages[@]}"; do
    # Words of our own, without anything to quote.
    # shellcheck disable=SC2086
    run $command
  done
}

install_packages() {
  freshen_apt
  local starts_a_service=false
  # The package would start a web server on port 80; the tests want only the program.
  if [[ " ${packages[*]} " == *" lighttpd "* && -d /run/systemd/system ]]; then
    starts_a_service=true
    run "${as_root[@]}" systemctl mask --quiet lighttpd.service
  fi
  run_hint="stale package lists? run apt-get update first" run "${as_root[@]}" apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}"
  if $starts_a_service; then
    run "${as_root[@]}" systemctl unmask --quiet lighttpd.service
    run "${as_root[@]}" systemctl disable --quiet lighttpd.service
  fi
  hash -r
}

# Leaves `nextest` true where cargo nextest can be used.
nextest=false
install_nextest() {
  local version
  version=$(cargo nextest --version 2>/dev/null | awk 'NR == 1 { print $2 }' || true)
  if at_least "$version" $MIN_NEXTEST; then
    present "cargo-nextest $version"
    nextest=true
    return
  fi
  absent "cargo-nextest $MIN_NEXTEST or newer: ${version:-not found}"
  consent "Build it with \`cargo install --locked cargo-nextest\` (some minutes; without it the tests run in \`cargo test\`)?" || return 0
  step "cargo install --locked cargo-nextest"
  if cargo install --locked --quiet cargo-nextest; then
    nextest=true
  else
    say "cargo-nextest could not be installed: the tests run in \`cargo test\` instead"
  fi
}

# vendor NAME PREPARE: installs the npm packages that tests/vendor/NAME pins into a folder of the cache, once
# for each state of what is pinned, and runs PREPARE in it. Leaves that folder in `vendored`.
vendor() {
  local from=$PWD/tests/vendor/$1
  vendored=${XDG_CACHE_HOME:-$HOME/.cache}/acf/vendor/$1-$(cat "$from"/* | sha256sum | cut -c -16)
  if [[ ! -d $vendored ]]; then (install_vendored "$from" "$2"); fi
}

install_vendored() {
  partial=$vendored.$$
  # Nothing half installed stays. Somebody else may have been as quick, too.
  trap 'rm -rf "$partial"' EXIT
  run mkdir -p "$partial"
  run cp "$1"/* "$partial"
  # Not `npm ci`: it wants the packages of all platforms, of which a mirror may lack some.
  run_hint="behind a proxy set HTTPS_PROXY" run npm install --no-save --prefix "$partial" --ignore-scripts --no-audit --no-fund --loglevel=error
  cd "$partial"
  "$2"
  mv -T "$partial" "$vendored" 2>/dev/null || [[ -d $vendored ]]
}

# Keeps of the packages only what is read: a few megabytes of hundreds.
reduce_descriptions() {
  node requests-only.mjs node_modules/@octokit/openapi/generated/api.github.com.json >github.json
  cp node_modules/@atlaskit/adf-schema/dist/json-schema/v1/full.json adf.json
  rm -r node_modules
}

# Tells the tests where the vendors' descriptions lie; a variable that is set stays as it is.
find_descriptions() {
  vendor descriptions reduce_descriptions
  export ACF_GITHUB_OPENAPI=${ACF_GITHUB_OPENAPI:-$vendored/github.json}
  export ACF_ADF_SCHEMA=${ACF_ADF_SCHEMA:-$vendored/adf.json}
  # Jira's comes in no package; it may lie beside the checkout.
  local beside
  for beside in ../*/specs/jira-cloud-v3.openapi.json; do
    if [[ -z ${ACF_JIRA_OPENAPI:-} && -e $beside ]]; then ACF_JIRA_OPENAPI=$(realpath "$beside"); fi
  done
  export ACF_JIRA_OPENAPI=${ACF_JIRA_OPENAPI:-}
  [[ -n $ACF_JIRA_OPENAPI ]] || say "SKIPPED: no request is held against Jira's description, as ACF_JIRA_OPENAPI is not set"
}

# Some of the CLIs are programs that npm would fetch or place by scripts of its own, which are run by name here.
place_agents() {
  run node node_modules/@anthropic-ai/claude-code/install.cjs
  cd node_modules/opencode-ai
  run node postinstall.mjs
  cd ../..
}

# Tells the tests where the coding CLIs are; a variable that is set stays as it is.
find_agents() {
  if [[ -n ${ACF_AGENTS_BIN:-} ]]; then return; fi
  if ! vendor agents place_agents; then
    say "SKIPPED: the real coding CLIs are not run, as npm could not install them"
    return
  fi
  export ACF_AGENTS_BIN=$vendored/node_modules/.bin
}

target_folder() {
  cargo metadata --no-deps --format-version 1 --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'
}

# --- verbs --------------------------------------------------------------------------------------

prepare() {
  step "looking at this machine"
  find_home
  find_rust
  plan_git
  plan_linker
  plan_certificates
  plan_rust "$@"
}

readonly BUILD_HINT="crates come from crates.io; behind a proxy set HTTPS_PROXY"

verb_demo() {
  prepare
  carry_out_plan
  # The development profile: built in well under half the time of a release, and as quick to look at.
  run_hint=$BUILD_HINT run cargo build --locked --package acf-cli --package acf-worker --bins
  local acf
  acf=$(target_folder)/debug/acf
  step "acf demo${*:+ $*}"
  exec "$acf" demo "$@"
}

verb_test() {
  prepare clippy rustfmt
  plan_test_tools
  carry_out_plan
  install_nextest
  find_descriptions
  find_agents
  local profile=default
  if $assume_yes; then profile=ci; fi
  # What is built once and thrown away needs no memory of how: gigabytes of disk.
  if [[ ${CI:-} == true ]]; then export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}; fi

  run cargo fmt --check
  run_hint=$BUILD_HINT run cargo clippy --locked --workspace --all-targets -- -D warnings
  # The end-to-end tests start the programs; tests alone do not make cargo build them.
  run cargo build --locked --workspace --bins
  if $nextest; then
    run cargo nextest run --locked --profile "$profile" "$@"
  else
    run cargo test --locked --all-targets "$@"
  fi
  run cargo test --locked --doc
  step "all checks passed"
}

verb_bench() {
  prepare
  carry_out_plan
  if have npm; then find_agents; fi
  exec tests/bench.sh "$@"
}

verb_install() {
  local prefix='' name
  while (($# > 0)); do
    case $1 in
      --prefix) (($# > 1)) || wrong_usage "--prefix needs a folder"; prefix=$2; shift ;;
      --prefix=*) prefix=${1#*=} ;;
      *) wrong_usage "install does not know \`$1\`" ;;
    esac
    shift
  done
  prepare
  prefix=${prefix:-$HOME/.local}
  [[ $prefix == /* ]] || prefix=$invoked_from/$prefix
  local bin=$prefix/bin
  refuse_to_overwrite "$bin"
  carry_out_plan
  run_hint=$BUILD_HINT run cargo build --locked --release --package acf-cli --package acf-worker --bins
  local built
  built=$(target_folder)/release
  run mkdir -p "$bin"
  run install -m 755 "$built/acf" "$built/acf-worker" "$bin"
  for name in "${LINKS[@]}"; do run ln -sfn acf "$bin/$name"; done
  step "installed $("$bin/acf" --version) to $bin"
  [[ ":$PATH:" == *":$bin:"* ]] || say "hint: $bin is not in PATH; add it: export PATH=\"$bin:\$PATH\""
}

# The names of the original tools are ordinary words: a program of somebody else stays.
refuse_to_overwrite() {
  local name taken=()
  for name in "${LINKS[@]}"; do
    if [[ -e $1/$name && $(readlink "$1/$name" || true) != acf ]]; then taken+=("$1/$name"); fi
  done
  ((${#taken[@]} == 0)) || die "these exist and are not acf's: ${taken[*]}" "remove them, or choose another --prefix"
}

wrong_usage() {
  say "${red}error:${plain} $1"
  usage >&2
  exit 2
}

# --- the beginning ------------------------------------------------------------------------------

assume_yes=false
[[ ${CI:-} != true ]] || assume_yes=true
arguments=()
while (($# > 0)); do
  case $1 in
    -y | --yes) assume_yes=true ;;
    --) arguments+=("$@"); break ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
verb=${arguments[0]:-help}
arguments=("${arguments[@]:1}")

case $verb in
  demo) verb_demo "${arguments[@]}" ;;
  test)
    if ((${#arguments[@]} > 0)); then
      [[ ${arguments[0]} == -- ]] || wrong_usage "arguments for cargo nextest come after \`--\`"
      arguments=("${arguments[@]:1}")
    fi
    verb_test "${arguments[@]}"
    ;;
  bench) verb_bench "${arguments[@]}" ;;
  install) verb_install "${arguments[@]}" ;;
  help | -h | --help) usage ;;
  *) wrong_usage "there is no verb \`$verb\`" ;;
esac

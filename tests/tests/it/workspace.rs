//! The shape of the workspace (docs/STYLE.md 8 and 34): which crate may lean on which, what a crate
//! may link, that what is declared is used, and that nothing is called `utils`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// Each crate of the workspace and the crates of the workspace that it may depend on. An adapter that
/// two programs use is a crate; the domain leans on nothing.
const ARROWS: &[(&str, &[&str])] = &[
    ("acf-core", &[]),
    ("acf-trackers", &["acf-core"]),
    ("acf-worker", &["acf-core", "acf-trackers"]),
    ("acf-cli", &["acf-core", "acf-trackers", "acf-worker"]),
    ("acf-tests", &["acf-core", "acf-trackers", "acf-worker", "acf-cli"]),
];

/// What the domain must not name: HTTP, a runtime, clouds, containers, a terminal. A final `*` stands
/// for any ending.
const NOT_IN_THE_DOMAIN: &[&str] =
    &["reqwest", "hyper*", "tokio*", "aws-*", "bollard*", "clap*", "anstream", "indicatif", "comfy-table"];

/// What the container's small binary must not link, through any crate.
const NOT_IN_THE_WORKER: &[&str] =
    &["aws-sdk-*", "aws-config", "bollard*", "clap*", "indicatif", "comfy-table"];

/// Dependencies that no source names, each with its reason: (crate, dependency, reason).
const USED_WITHOUT_BEING_NAMED: &[(&str, &str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"];

/// Folders that hold no sources.
const NOT_SOURCES: &[&str] = &["target", "node_modules"];

#[test]
fn arrows_between_crates_run_as_drawn() {
    let metadata = metadata();
    let crates = members(&metadata);
    let names: BTreeSet<&str> = crates.iter().map(|package| package.name.as_str()).collect();
    let wrong: Vec<String> = crates
        .iter()
        .flat_map(|package| wrong_arrows(&package.name, &declared(package), &names, ARROWS))
        .collect();
    assert_none("arrows that the design does not have (docs/ARCHITECTURE.md)", &wrong);
}

#[test]
fn the_domain_names_no_http_cloud_container_or_terminal() {
    let metadata = metadata();
    let dependencies = declared(member(&metadata, "acf-core"));
    assert_none(
        "dependencies of acf-core that an adapter should have",
        &matching(&dependencies, NOT_IN_THE_DOMAIN),
    );
}

#[test]
fn the_worker_links_no_cloud_container_or_argument_parser() {
    let metadata = metadata();
    let linked = linked(&metadata, &member(&metadata, "acf-worker").id);
    assert!(linked.contains("acf-core"), "the dependency graph was not read: {linked:?}");
    assert_none("crates that the container's binary must not link", &matching(&linked, NOT_IN_THE_WORKER));
}

#[test]
fn every_declared_dependency_is_used() {
    let metadata = metadata();
    let mut unused = Vec::new();
    for package in members(&metadata) {
        let sources = sources(package);
        unused.extend(
            declared(package)
                .into_iter()
                .filter(|dependency| {
                    !is_named(dependency, &sources) && !is_excused(&package.name, dependency)
                })
                .map(|dependency| format!("{}: `{dependency}`", package.name)),
        );
    }
    assert_none("dependencies that no source names (remove them from the crate's Cargo.toml)", &unused);
}

#[test]
fn every_excuse_for_an_unnamed_dependency_still_holds() {
    let metadata = metadata();
    let stale: Vec<String> = USED_WITHOUT_BEING_NAMED
        .iter()
        .filter(|(package, dependency, _reason)| !declared(member(&metadata, package)).contains(*dependency))
        .map(|(package, dependency, _reason)| format!("{package}: `{dependency}`"))
        .collect();
    assert_none("excuses for dependencies that are gone", &stale);
}

#[test]
fn names_say_what_is_inside() {
    let root = root();
    let empty: Vec<String> = walk(&root)
        .into_iter()
        .map(|path| path.strip_prefix(&root).expect("the walk stays below the root").to_owned())
        .filter(|path| says_nothing(path))
        .map(|path| path.display().to_string())
        .collect();
    assert_none("files or folders whose name says nothing", &empty);
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    let metadata = metadata();
    let alone: Vec<String> = members(&metadata)
        .into_iter()
        .filter(|package| !inherits_lints(&read(package.manifest_path.as_std_path())))
        .map(|package| format!("{} (add `[lints]` with `workspace = true`)", package.manifest_path))
        .collect();
    assert_none("crates with lints of their own", &alone);
}

#[test]
fn the_checks_find_what_they_look_for() {
    let names = BTreeSet::from(["acf-core", "acf-worker"]);
    let set = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(wrong_arrows("acf-worker", &set(&["acf-core", "serde"]), &names, ARROWS), [""; 0]);
    assert_eq!(wrong_arrows("acf-core", &set(&["acf-worker"]), &names, ARROWS), ["acf-core -> acf-worker"]);
    assert_eq!(wrong_arrows("acf-new", &set(&[]), &names, ARROWS).len(), 1);

    assert_eq!(matching(&set(&["aws-sdk-ecs", "clap_derive", "serde"]), NOT_IN_THE_WORKER).len(), 2);

    let named = |text: &str| is_named("tokio-util", &[text.to_owned()]);
    assert!(named("use tokio_util::sync::CancellationToken;"));
    assert!(named("let token = ::tokio_util::sync::CancellationToken::new();"));
    assert!(!named("// tokio_util::sync would do"));
    assert!(!named("use my_tokio_util::sync;"));

    assert!(says_nothing(Path::new("crates/acf-core/src/utils.rs")));
    assert!(says_nothing(Path::new("crates/acf-core/src/common")));
    assert!(says_nothing(Path::new("crates/acf-core/src/git_helpers.rs")));
    assert!(!says_nothing(Path::new("crates/acf-core/src/claim.rs")));

    assert!(inherits_lints("[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n"));
    assert!(!inherits_lints("[package]\nname = \"x\"\n\n[lints.rust]\nunsafe_code = \"forbid\"\n"));
}

#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

fn wrong_arrows(
    package: &str,
    dependencies: &BTreeSet<String>,
    workspace: &BTreeSet<&str>,
    arrows: &[(&str, &[&str])],
) -> Vec<String> {
    let Some((_, allowed)) = arrows.iter().find(|(from, _)| *from == package) else {
        return vec![format!("`{package}` is not in ARROWS: say there what it may depend on")];
    };
    dependencies
        .iter()
        .filter(|dependency| {
            workspace.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str())
        })
        .map(|dependency| format!("{package} -> {dependency}"))
        .collect()
}

fn matching(names: &BTreeSet<String>, patterns: &[&str]) -> Vec<String> {
    let matches = |name: &str, pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    };
    names.iter().filter(|name| patterns.iter().any(|pattern| matches(name, pattern))).cloned().collect()
}

/// Tells whether a source names a crate, as a path `crate_name::…` outside line comments.
fn is_named(dependency: &str, sources: &[String]) -> bool {
    let path = format!("{}::", dependency.replace('-', "_"));
    let begins_here = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    sources.iter().flat_map(|source| source.lines()).any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(&path).any(|(at, _)| begins_here(&code[..at]))
    })
}

fn is_excused(package: &str, dependency: &str) -> bool {
    USED_WITHOUT_BEING_NAMED.iter().any(|(from, to, _reason)| *from == package && *to == dependency)
}

fn says_nothing(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let rust_suffix = ["_utils", "_util", "_helpers", "_helper"].iter().any(|suffix| stem.ends_with(suffix));
    EMPTY_NAMES.contains(&stem) || rust_suffix
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != "[lints]");
    lines.nth(1) == Some("workspace = true")
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests lie in the workspace").to_owned()
}

/// Asks cargo, without the network; for this host only, as crates of other systems are not downloaded.
fn metadata() -> Metadata {
    let version = Command::new("rustc").arg("-vV").output().expect("start rustc").stdout;
    let version = String::from_utf8(version).expect("rustc prints UTF-8");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--offline", "--locked", "--filter-platform", host].map(String::from))
        .exec()
        .expect("cargo metadata")
}

fn members(metadata: &Metadata) -> Vec<&Package> {
    metadata.workspace_packages()
}

fn member<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    let found = members(metadata).into_iter().find(|package| package.name == name);
    found.unwrap_or_else(|| panic!("the workspace has no crate `{name}`"))
}

fn declared(package: &Package) -> BTreeSet<String> {
    package.dependencies.iter().map(|dependency| dependency.name.clone()).collect()
}

/// Returns the names of all crates that a crate links, directly or not: no development dependencies.
fn linked(metadata: &Metadata, id: &PackageId) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves");
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![id];
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let linked = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if linked && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

fn sources(package: &Package) -> Vec<String> {
    let folder = package.manifest_path.parent().expect("a manifest lies in a folder");
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    walk(folder.as_std_path()).into_iter().filter(rust).map(|path| read(&path)).collect()
}

/// Returns all files and folders below a folder, but those that are hidden or hold no sources.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("read a folder of the workspace") {
            let entry = entry.expect("read a folder of the workspace");
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || NOT_SOURCES.contains(&name.as_str()) {
                continue;
            }
            if entry.file_type().expect("read a file's type").is_dir() {
                open.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

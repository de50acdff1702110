//! Which log lines are written: `ACF_LOG`.

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::reader::Reader;
use super::variables::ACF_LOG;

/// The parts of acf that write log lines.
const LOGGED: [&str; 2] = ["acf_trackers", "acf_worker"];

/// Reads the filter. What is said of parts alone leaves the rest as it is by default.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Targets> {
    let mut strange = Vec::new();
    let filter = reader.parse(&ACF_LOG, |text| {
        let parsed: Option<Vec<_>> = text.split(',').map(|part| directive(part.trim())).collect();
        let directives = parsed.ok_or("write a filter such as info, debug, or info,acf_worker=trace")?;
        let usual = Targets::new().with_default(LevelFilter::INFO);
        Ok(directives.into_iter().fold(usual, |filter, (target, level)| match target {
            Some(target) => {
                // Those of libraries may be silenced.
                let is_raised = level > LevelFilter::INFO;
                let part = target.split("::").next().unwrap_or(target);
                if is_raised && !LOGGED.contains(&part) {
                    strange.push(target.to_owned());
                }
                filter.with_target(target, level)
            }
            None => filter.with_default(level),
        }))
    });
    if !strange.is_empty() {
        let (strange, parts) = (strange.join(", "), LOGGED.join(", "));
        reader.warn(format!("ACF_LOG names {strange}, which is no part of acf: its parts are {parts}"));
    }
    filter
}

/// Parses `LEVEL` or `TARGET=LEVEL`. A word that is no level would silence everything else if it were taken
/// for a target, as `tracing` does.
fn directive(text: &str) -> Option<(Option<&str>, LevelFilter)> {
    let (target, level) = match text.split_once('=') {
        Some((target, level)) => (Some(target.trim()), level.trim()),
        None => (None, text),
    };
    let is_path = |target: &str| target.split("::").all(is_identifier);
    // An empty level is one for `tracing`.
    let is_meant = target.is_none_or(is_path) && !level.is_empty();
    Some((target, level.parse().ok().filter(|_| is_meant)?))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::sources::tests::Place;
    use crate::config::{Need, load};

    #[test]
    fn a_log_filter_is_made_of_levels_and_never_silences_by_mistake() {
        let filter = |text: &str| {
            load(&Place::new(&[("PROJECT", "TODO.md"), ("ACF_LOG", text)]).layers(), Need::Tracker)
        };
        let worker = filter("warn, acf_worker=TRACE,h2::client=off").unwrap().worker.log_filter;
        assert!(worker.would_enable("acf_worker::git", &tracing::Level::TRACE));
        assert!(!worker.would_enable("acf_core", &tracing::Level::INFO));
        assert!(worker.would_enable("acf_core", &tracing::Level::WARN));
        assert!(!worker.would_enable("h2::client", &tracing::Level::ERROR));
        assert_eq!(filter("off").unwrap().worker.log_filter.default_level(), Some(LevelFilter::OFF));
        let parts_only = filter("acf_worker::git=debug").unwrap();
        assert_eq!(parts_only.warnings, Vec::<String>::new());
        let parts_only = parts_only.worker.log_filter;
        assert!(parts_only.would_enable("acf_worker::git", &tracing::Level::DEBUG));
        assert!(parts_only.would_enable("acf_worker::worker", &tracing::Level::INFO), "the rest is as ever");
        assert!(!parts_only.would_enable("acf_worker::worker", &tracing::Level::DEBUG));
        let unknown = filter("foo=debug,acf_workr::git=trace,acf_trackers=debug").unwrap();
        assert!(unknown.worker.log_filter.would_enable("acf_worker", &tracing::Level::INFO));
        assert_eq!(
            unknown.warnings,
            [
                "ACF_LOG names foo, acf_workr::git, which is no part of acf: its parts are acf_trackers, acf_worker"
            ]
        );
        for wrong in ["verbose", "acf_worker", "info,", "=info", "a b=info", "info,acf_worker=loud", "[["] {
            let told = filter(wrong).unwrap_err().to_string();
            assert!(
                told.contains("ACF_LOG") && told.contains("write a filter such as info"),
                "{wrong}: {told}"
            );
        }
    }
}

use std::path::Path;

use secrecy::ExposeSecret;
use tracing_subscriber::filter::LevelFilter;

use super::*;
use crate::agent::Access;
use crate::config::AgentChoice;
use crate::config::repository::Author;
use crate::config::sources::tests::Place;
use crate::config::tracker::Todo;
use crate::config::variables::{ACF_REF_PREFIX, PROJECT, TRACKERS};

/// The least that a worker needs.
const LEAST: [(&str, &str); 3] =
    [("PROJECT", "git:TODO.md"), ("GIT_REPO_URL", "https://h.example/shop.git"), ("AGENT", "script")];

fn with(more: &[(&str, &str)]) -> Place {
    Place::new(&[LEAST.as_slice(), more].concat())
}

fn loaded(place: Place) -> Settings {
    load(&place.layers(), Need::Worker).unwrap_or_else(|problems| panic!("{problems}"))
}

fn refused(place: Place, need: Need) -> String {
    load(&place.layers(), need).unwrap_err().to_string()
}

/// Loads the least with those variables more, and returns the remedy of the only problem.
#[track_caller]
fn remedy(more: &[(&str, &str)]) -> (String, String) {
    let problems = load(&with(more).layers(), Need::Worker).unwrap_err();
    assert_eq!(problems.as_slice().len(), 1, "{problems}");
    let problem = &problems.as_slice()[0];
    (problem.name.clone(), problem.remedy.clone())
}

#[test]
fn the_least_configuration_gets_every_default() {
    let settings = loaded(with(&[]));
    let location = TodoLocation::InRepository("TODO.md".into());
    let Tracker::Todo(todo) = &settings.tracker else { panic!("{:?}", settings.tracker) };
    assert_eq!(*todo, Todo { location, assignee: "acf".into() });
    assert!(settings.pull_requests.is_none());
    assert_eq!(settings.github_host, "github.com");
    assert_eq!(settings.agent, Some(AgentChoice::Script));
    assert_eq!(settings.fallbacks, []);
    assert_eq!(settings.allowance, Allowance::default());
    assert_eq!(settings.daily_budget_usd, None);
    assert_eq!(settings.rules, Rules::default());
    assert_eq!(settings.prompts, Prompts::default());
    assert_eq!(
        settings.worker,
        WorkerSettings {
            id: settings.worker.id.clone(),
            no_issues_wait: Duration::from_secs(60),
            inter_issue_wait: Duration::ZERO,
            claim_ttl: acf_core::claim::DEFAULT_TTL,
            issue_recheck: Duration::from_secs(5 * 60),
            stop_grace: Duration::from_secs(30),
            events_file: None,
            log_filter: Targets::new().with_default(LevelFilter::INFO),
        }
    );
    assert!(settings.worker.id.as_str().starts_with("w-"), "{}", settings.worker.id);
    assert_ne!(settings.worker.id, loaded(with(&[])).worker.id);
    let repository = settings.repository.unwrap();
    assert_eq!(repository.url, "https://h.example/shop.git");
    assert_eq!(repository.username, "x-access-token");
    assert!(repository.token.is_none() && repository.trunk.is_none());
    assert_eq!(repository.ref_prefix, "refs/acf/");
    assert_eq!(repository.author, Author { name: "acf".into(), email: "acf@localhost".into() });
    assert_eq!(repository.timeout, Duration::from_secs(120));
    assert_eq!(repository.work_dir, Path::new("/home/ann/.cache/acf/work"));
    assert_eq!(settings.warnings, Vec::<String>::new());
}

#[test]
fn every_setting_can_be_set() {
    let place = with(&[
        ("TODO_ASSIGNEE", "ann"),
        ("GIT_USERNAME", "me"),
        ("GIT_TOKEN", " hunter22\n"),
        ("GIT_TRUNK", "trunk"),
        ("GIT_AUTHOR_NAME", "A Bot"),
        ("GIT_AUTHOR_EMAIL", "bot@h.example"),
        ("ACF_REF_PREFIX", "refs/heads/acf/"),
        ("ACF_GIT_TIMEOUT", "5s"),
        ("LOOP_WORK_DIR", "work"),
        ("FEATURE_BRANCHES", "true"),
        ("PLAN_BY_DEFAULT", "Yes"),
        ("REQUIRED_LABELS", "acf, ready,,"),
        ("MAX_ATTEMPTS", "5"),
        ("RETRY_BACKOFF", "1m"),
        ("NO_ISSUES_WAIT", "5"),
        ("INTER_ISSUE_WAIT", "1200"),
        ("ACF_CLAIM_TTL", "90"),
        ("ISSUE_RECHECK", "2m"),
        ("STOP_GRACE", "0"),
        ("ACF_LOG", "info,acf_worker=trace"),
        ("ACF_WORKER_ID", "w-1"),
        ("ACF_EVENTS_FILE", "/tmp/events"),
        ("IMPLEMENTATION_PROMPT", "Do {{ issue.key }}\n"),
        ("PLANNING_PROMPT", "Plan"),
        ("AGENT_TIMEOUT", "2h"),
        ("AGENT_STALL_TIMEOUT", "90s"),
        ("AGENT_MAX_TURNS", "40"),
        ("AGENT_BUDGET_USD", "2.50"),
        ("AGENT_PRICES_FILE", "/etc/acf/prices.toml"),
        ("ACF_AGENT_USER", "agent"),
        ("FACTORY_BUDGET_USD_PER_DAY", "$40"),
    ]);
    let work_dir = place.path("work");
    let settings = loaded(place);
    let repository = settings.repository.as_ref().unwrap();
    assert_eq!(repository.work_dir, work_dir);
    assert_eq!(repository.token.as_ref().map(ExposeSecret::expose_secret), Some("hunter22"));
    let told = (&settings.tracker, repository, &settings.rules, &settings.prompts, &settings.worker);
    let allowance = Allowance {
        timeout: Some(Duration::from_secs(7200)),
        stall: Some(Duration::from_secs(90)),
        limits: AgentLimits { max_turns: Some(40), budget_usd: Some(2.5) },
        prices_file: Some("/etc/acf/prices.toml".into()),
        user: Some("agent".into()),
    };
    assert_eq!((&settings.allowance, settings.daily_budget_usd), (&allowance, Some(40.0)));
    insta::with_settings!({filters => vec![(r#"work_dir: ".*/work""#, r#"work_dir: "[work]""#)]}, {
        insta::assert_debug_snapshot!(told);
    });
    assert_eq!(settings.prompts.of(Stage::Implementation), Some("Do {{ issue.key }}\n"));
    assert_eq!(settings.prompts.of(Stage::Planning), Some("Plan"));
}

/// What each of the remote trackers needs, besides an agent.
const GITHUB: [(&str, &str); 3] =
    [("TASK_MANAGER", "github"), ("PROJECT", "acme/shop"), ("GH_TOKEN", "ghp_hunter22")];
const JIRA: [(&str, &str); 6] = [
    ("TASK_MANAGER", "jira"),
    ("PROJECT", "acf"),
    ("JIRA_SITE", "acme.atlassian.net"),
    ("JIRA_EMAIL", "bot@acme.example"),
    ("JIRA_TOKEN", "ATATT-hunter22"),
    ("JIRA_ASSIGNEE_ACCOUNT_ID", "712020:aa-bb"),
];

/// A repository that is on no host.
const REPOSITORY: [(&str, &str); 1] = [("GIT_REPO_URL", "/srv/shop.git")];

fn remote(tracker: &[(&str, &str)], more: &[(&str, &str)]) -> Place {
    Place::new(&[tracker, &[("AGENT", "script")], more].concat())
}

#[test]
fn a_project_on_github_says_where_its_repository_is_and_its_token_opens_it() {
    let settings = loaded(remote(&GITHUB, &[]));
    let Tracker::GitHub(github) = &settings.tracker else { panic!("{:?}", settings.tracker) };
    assert_eq!((github.repository.to_string().as_str(), github.assignee.as_deref()), ("acme/shop", None));
    assert_eq!(github.api_url.as_str(), "https://api.github.com/");
    let repository = settings.repository.unwrap();
    assert_eq!(repository.url, "https://github.com/acme/shop.git");
    assert_eq!(repository.username, "x-access-token");
    assert_eq!(repository.token.unwrap().expose_secret(), "ghp_hunter22");
    assert_eq!(settings.pull_requests.unwrap().repository.to_string(), "acme/shop");

    let enterprise = [("GITHUB_API_URL", "https://code.acme.example/api/v3"), ("GH_ASSIGNEE", "@acf-bot")];
    let settings = loaded(remote(&GITHUB, &enterprise));
    assert_eq!(settings.repository.unwrap().url, "https://code.acme.example/acme/shop.git");
    assert_eq!(settings.github_host, "code.acme.example");
    let Tracker::GitHub(github) = settings.tracker else { panic!("{:?}", settings.tracker) };
    assert_eq!(github.assignee.as_deref(), Some("acf-bot"));
}

#[test]
fn issues_and_code_may_be_on_different_hosts_and_each_sees_its_own_token_only() {
    let elsewhere = [("GIT_REPO_URL", "https://gitlab.com/acme/shop.git")];
    let settings = loaded(remote(&GITHUB, &elsewhere));
    assert!(settings.repository.unwrap().token.is_none());
    assert!(settings.pull_requests.is_none());

    let code_on_github = [("GIT_REPO_URL", "git@github.com:acme/shop.git"), ("GH_TOKEN", "ghp_hunter22")];
    let settings = loaded(remote(&JIRA, &code_on_github));
    let Tracker::Jira(jira) = &settings.tracker else { panic!("{:?}", settings.tracker) };
    assert_eq!((jira.project.as_str(), jira.api_url.as_str()), ("ACF", "https://acme.atlassian.net/"));
    assert_eq!(settings.pull_requests.unwrap().repository.to_string(), "acme/shop");
    let without_token = [("GIT_REPO_URL", "https://github.com/acme/shop.git")];
    assert!(loaded(remote(&JIRA, &without_token)).pull_requests.is_none());
}

#[test]
fn required_labels_are_compared_as_the_tracker_compares_labels() {
    let required = |tracker: &[(&str, &str)]| {
        let more = [("GIT_REPO_URL", "https://h.example/shop.git"), ("REQUIRED_LABELS", "Agent,bug")];
        let labels = loaded(remote(tracker, &more)).rules.required_labels;
        labels.into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(required(&GITHUB), "agent bug");
    assert_eq!(required(&JIRA), "Agent bug");
}

#[test]
fn statuses_of_jira_can_have_other_names() {
    let named = [
        ("GIT_REPO_URL", "/srv/shop.git"),
        ("JIRA_STATUS_TO_DO", "Backlog"),
        ("JIRA_STATUS_DONE", "Released"),
    ];
    let Tracker::Jira(jira) = loaded(remote(&JIRA, &named)).tracker else { panic!("no Jira") };
    let names = jira.statuses;
    assert_eq!([&*names.to_do, &*names.done, &*names.in_review], ["Backlog", "Released", "In Review"]);

    let twice = [("GIT_REPO_URL", "/srv/shop.git"), ("JIRA_STATUS_IN_REVIEW", "in progress")];
    assert!(
        refused(remote(&JIRA, &twice), Need::Worker)
            .ends_with("the status In Progress has that name already; each needs its own")
    );
}

#[test]
fn everything_that_a_remote_tracker_misses_is_told_at_once() {
    insta::assert_snapshot!(refused(Place::new(&[("TASK_MANAGER", "github")]), Need::Worker), @r"
    3 settings are missing for tracker github
      PROJECT    not set   the repository whose issues are taken, e.g. acme/shop
      GH_TOKEN   not set   create one in your GitHub account's developer settings; docs/github.md says which
      AGENT      not set   one of claude, codex, copilot, gemini, opencode, script, command
    ");
    insta::assert_snapshot!(refused(Place::new(&[("TASK_MANAGER", "jira")]), Need::Worker), @r"
    7 settings are missing for tracker jira
      PROJECT                    not set   the project's key, e.g. ACF
      JIRA_SITE                  not set   your site, e.g. acme.atlassian.net
      JIRA_EMAIL                 not set   the mail address of the account that the token belongs to
      JIRA_TOKEN                 not set   create one in your Atlassian account's security settings; docs/jira.md says how
      JIRA_ASSIGNEE_ACCOUNT_ID   not set   the account that issues are taken for; docs/jira.md says where it is found
      GIT_REPO_URL               not set   e.g. https://github.com/acme/shop.git
      AGENT                      not set   one of claude, codex, copilot, gemini, opencode, script, command
    ");
}

#[test]
fn everything_that_is_wrong_with_a_remote_tracker_is_told_without_its_secrets() {
    let wrong = [
        ("PROJECT", "shop"),
        ("GITHUB_API_URL", "api.github.com"),
        ("GH_TOKEN", "ghp hunter22"),
        ("GH_ASSIGNEE", "Ada Lovelace"),
        ("GIT_REPO_URL", "/srv/shop.git"),
    ];
    let told = refused(remote(&GITHUB, &wrong), Need::Worker);
    assert!(!told.contains("hunter22"), "{told}");
    insta::assert_snapshot!(told, @r"
    4 settings cannot be used
      GITHUB_API_URL   `api.github.com` in the environment   write an address that begins with https://
      GH_TOKEN         set in the environment                a token is one word of plain letters, digits and signs
      PROJECT          `shop` in the environment             write the owner and the repository, as acme/shop
      GH_ASSIGNEE      `Ada Lovelace` in the environment     write an account's login name
    ");
    let wrong = [
        ("PROJECT", "ACF-12"),
        ("JIRA_SITE", "https://acme.atlassian.net/jira"),
        ("JIRA_EMAIL", "bot"),
        ("JIRA_ASSIGNEE_ACCOUNT_ID", "bot@acme.example"),
        ("JIRA_API_URL", "https://me:hunter22@h/"),
        ("GIT_REPO_URL", "/srv/shop.git"),
    ];
    let told = refused(remote(&JIRA, &wrong), Need::Worker);
    assert!(!told.contains("me:hunter22"), "{told}");
    insta::assert_snapshot!(told, @r"
    5 settings cannot be used
      PROJECT                    `ACF-12` in the environment       write a project's key, as ACF in ACF-12
      JIRA_SITE                  `https://acme.atlassian.net/jira` in the environment   write the site alone, without a path: acme.atlassian.net
      JIRA_EMAIL                 `bot` in the environment          write a mail address
      JIRA_ASSIGNEE_ACCOUNT_ID   `bot@acme.example` in the environment   write an account's id, as 5b10ac8d82e05b22cc7d4ef5; not a name or a mail address
      JIRA_API_URL               `https://h/` in the environment   write it without user and password; tokens have variables of their own
    ");
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let place = Place::new(&[]).env_file("# copied from the example\n\nGIT_REPO_URL=\n");
    insta::assert_snapshot!(refused(place, Need::Worker), @r"
    3 settings are missing for tracker todo
      PROJECT        not set                   e.g. TODO.md, or git:TODO.md for the file in the target repository
      GIT_REPO_URL   empty in .env.factory:3   e.g. https://github.com/acme/shop.git
      AGENT          not set                   one of claude, codex, copilot, gemini, opencode, script, command
    ");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let place = Place::new(&[
        ("TASK_MANAGER", "tood"),
        ("GIT_AUTHOR_NAME", "A <bot>"),
        ("GIT_USERNAME", "a\nb"),
        ("GIT_TOKEN", "se\ncret"),
        ("ACF_GIT_TIMEOUT", "0"),
        ("ACF_WORKER_ID", "../w"),
        ("ACF_LOG", "acf_worker=loudly"),
        ("INTER_ISSUE_WAIT", "a while"),
    ])
    .env_file(
        "AGENT=comand\nMAX_ATTEMPTS=0\nnonsense\nGIT_TOKN=hunter22\nGIT_REPO_URL=htps://me:hunter22@h/r\n",
    )
    .config_file(
        "feature_branches = \"perhaps\"\nplan_by_defalt = true\nno_issues_wait = 0\nagent_commando = 3\n",
    )
    .flag(&ACF_REF_PREFIX, "--ref-prefix", "refs/acf");
    insta::assert_snapshot!(refused(place, Need::Worker));
}

#[test]
fn an_unknown_word_is_answered_with_the_known_ones() {
    let told = |name: &str, value: &str| remedy(&[(name, value)]).1;
    assert_eq!(told("TASK_MANAGER", "bugzilla"), "known: todo, github, jira");
    assert_eq!(told("TASK_MANAGER", "Todo"), "did you mean todo? known: todo, github, jira");
    assert_eq!(told("AGENT", "clod"), "known: claude, codex, copilot, gemini, opencode, script, command");
    assert_eq!(
        told("AGENT", "scirpt"),
        "did you mean script? known: claude, codex, copilot, gemini, opencode, script, command"
    );
    let problems = load_factory(&Place::new(&[("FACTORY_RUNTIME", "porcess")]).layers()).unwrap_err();
    assert_eq!(problems.as_slice()[0].remedy, "did you mean process? known: process");
}

#[test]
fn what_concerns_agents_alone_keeps_nobody_from_looking_at_issues() {
    let wrong = with(&[
        ("AGENT", "comand"),
        ("AGENT_TIMEOUT", "long"),
        ("AGENT_BUDGET_USD", "a lot"),
        ("FACTORY_RUNTIME", "mainframe"),
    ])
    .layers();
    for need in [Need::Tracker, Need::Repository] {
        load(&wrong, need).unwrap();
    }
    load(&with(&[("AGENT", "command")]).layers(), Need::Repository).unwrap();
    let told = |problems: Problems| {
        problems.as_slice().iter().map(|problem| problem.name.clone()).collect::<Vec<_>>()
    };
    let all = ["AGENT", "AGENT_BUDGET_USD", "AGENT_TIMEOUT", "FACTORY_RUNTIME"];
    assert_eq!(told(check(&wrong).unwrap_err()), all, "`acf config` tells all of it");
    assert_eq!(told(load_fleet(&wrong).unwrap_err()), all, "each is told once");
}

#[test]
fn a_worker_refuses_to_run_elsewhere_than_it_is_meant_to() {
    let (name, remedy) = remedy(&[("FACTORY_RUNTIME", "mainframe")]);
    assert_eq!((name.as_str(), remedy.as_str()), ("FACTORY_RUNTIME", "known: process"));
}

#[test]
fn several_agents_stand_by_for_each_other_and_each_of_them_is_checked() {
    let command = ("AGENT_COMMAND", "my-agent");
    let settings = loaded(with(&[("AGENT", "script, command"), command]));
    assert_eq!(settings.agent, Some(AgentChoice::Script));
    assert_eq!(
        settings.fallbacks,
        [AgentChoice::Command { program: "my-agent".into(), args: vec![], access: Access::default() }]
    );
    let told = |agents: &str| remedy(&[("AGENT", agents), command]).1;
    assert_eq!(
        told("script,comand"),
        "did you mean command? known: claude, codex, copilot, gemini, opencode, script, command"
    );
    assert_eq!(told("script,"), "known: claude, codex, copilot, gemini, opencode, script, command");
    assert_eq!(told("script,command,script"), "script stands there twice");
    assert_eq!(remedy(&[("AGENT", "script,command")]).0, "AGENT_COMMAND");
    let place =
        Place::new(&LEAST[..2]).config_file("agent = [\"script\", \"command\"]\nagent_command = \"x\"\n");
    assert_eq!(loaded(place).fallbacks.len(), 1);
}

#[test]
fn an_amount_of_money_is_more_than_nothing() {
    for amount in ["0", "-1", "five", "inf", "NaN", "1,50"] {
        assert_eq!(remedy(&[("AGENT_BUDGET_USD", amount)]).0, "AGENT_BUDGET_USD", "{amount}");
    }
    let place = with(&[]).config_file("factory_budget_usd_per_day = 12.5\n");
    assert_eq!(loaded(place).daily_budget_usd, Some(12.5));
}

#[test]
fn the_words_of_the_table_are_those_that_are_parsed() {
    for word in crate::config::variables::AGENTS {
        let settings = loaded(with(&[("AGENT", word), ("AGENT_COMMAND", "x")]));
        assert!(settings.agent.is_some(), "{word}");
    }
    for (word, place) in TRACKERS.iter().zip([with(&[]), remote(&GITHUB, &[]), remote(&JIRA, &REPOSITORY)]) {
        let chosen = match loaded(place).tracker {
            Tracker::Todo(_) => "todo",
            Tracker::GitHub(_) => "github",
            Tracker::Jira(_) => "jira",
        };
        assert_eq!(chosen, *word);
    }
    for word in crate::config::variables::RUNTIMES {
        load_factory(&Place::new(&[("FACTORY_RUNTIME", word)]).layers()).unwrap();
    }
}

#[test]
fn a_command_asks_only_for_what_it_needs() {
    let local = || Place::new(&[("PROJECT", "TODO.md")]);
    let settings = load(&local().without_home().layers(), Need::Tracker).unwrap();
    assert!(settings.repository.is_none() && settings.agent.is_none());
    let named = |need| {
        let problems = load(&local().layers(), need).unwrap_err();
        problems.as_slice().iter().map(|problem| problem.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(Need::Repository), ["GIT_REPO_URL"]);
    assert_eq!(named(Need::Worker), ["GIT_REPO_URL", "AGENT"]);
}

#[test]
fn what_is_not_needed_is_validated_all_the_same() {
    let place = Place::new(&[("PROJECT", "TODO.md"), ("MAX_ATTEMPTS", "0"), ("GIT_REPO_URL", "ext::sh")]);
    let shown = refused(place, Need::Tracker);
    assert!(shown.contains("MAX_ATTEMPTS") && shown.contains("GIT_REPO_URL"), "{shown}");
}

#[test]
fn workers_can_be_looked_after_whatever_became_of_their_configuration() {
    let place = Place::new(&[("TASK_MANAGER", "nonsense"), ("GIT_TOKEN", "x"), ("MAX_ATTEMPTS", "0")]);
    let factory = load_factory(&place.layers()).unwrap();
    assert_eq!((factory.name.as_str(), factory.runtime), ("default", RuntimeChoice::Process));
    assert_eq!(factory.state, Path::new("/home/ann/.local/state/acf"));
    assert_eq!(factory.stop_grace, Duration::from_secs(30));
    let named = |name| load_factory(&Place::new(&[("FACTORY_NAME", name)]).layers());
    assert_eq!(named("shop-1").unwrap().name, "shop-1");
    for name in ["../x", "a/b", "-x", "a b", "é", ".", &"x".repeat(65)] {
        assert_eq!(named(name).unwrap_err().as_slice()[0].name, "FACTORY_NAME", "{name}");
    }
}

#[test]
fn starting_workers_tells_the_problems_of_both_at_once() {
    let shown = load_fleet(&Place::new(&[("FACTORY_RUNTIME", "ecs")]).without_home().layers()).unwrap_err();
    insta::assert_snapshot!(shown);
    let (factory, settings) = load_fleet(&with(&[]).layers()).unwrap();
    assert_eq!(factory.name, "default");
    assert_eq!(settings.agent, Some(AgentChoice::Script));
}

#[test]
fn a_todo_file_is_local_or_in_the_repository() {
    let place = Place::new(&[("TODO_FILE", "docs/TODO.md")]);
    let local = TodoLocation::Local(place.path("docs/TODO.md"));
    let Tracker::Todo(todo) = load(&place.layers(), Need::Tracker).unwrap().tracker else {
        panic!("no TODO file")
    };
    assert_eq!(todo.location, local);
    let (name, told) = remedy(&[("PROJECT", "git:../x")]);
    assert_eq!(
        (name.as_str(), told.as_str()),
        ("PROJECT", "the path has to stay in the repository, e.g. git:TODO.md")
    );
    assert_eq!(remedy(&[("PROJECT", ""), ("TODO_FILE", "git:/etc/x")]).0, "TODO_FILE");
}

#[test]
fn a_todo_file_in_the_repository_needs_the_repository() {
    insta::assert_snapshot!(refused(Place::new(&[("PROJECT", "git:TODO.md")]), Need::Tracker), @r"
    1 setting is missing for tracker todo
      GIT_REPO_URL   not set   the repository that the TODO file is in (PROJECT=git:…)
    ");
}

#[test]
fn a_project_and_a_todo_file_that_differ_are_a_problem_unless_a_flag_decides() {
    let place = || with(&[("TODO_FILE", "other.md")]);
    insta::assert_snapshot!(refused(place(), Need::Tracker));
    let flagged = place().flag(&PROJECT, "--project", "git:TODO.md");
    assert_eq!(
        load(&flagged.layers(), Need::Tracker).unwrap().warnings,
        [
            "PROJECT is `git:TODO.md` given by --project, so TODO_FILE is not used: `other.md` in the environment"
        ]
    );
    assert_eq!(loaded(with(&[("TODO_FILE", "git:./TODO.md")])).warnings, Vec::<String>::new());
}

#[test]
fn an_unknown_tracker_is_told_and_nothing_that_depends_on_it() {
    insta::assert_snapshot!(refused(Place::new(&[("TASK_MANAGER", "nope")]), Need::Worker));
}

#[test]
fn an_agent_alone_needs_no_tracker_and_no_repository() {
    let place = Place::new(&[("AGENT", "script"), ("TASK_MANAGER", "nope")]);
    assert!(matches!(load_agent(&place.layers()).unwrap().agent, AgentChoice::Script));
    let told = load_agent(&Place::new(&[]).layers()).unwrap_err().to_string();
    assert!(told.starts_with("1 setting is missing\n  AGENT "), "{told}");
}

#[test]
fn credentials_in_the_address_become_secrets() {
    let settings = loaded(with(&[("GIT_REPO_URL", "https://me:p%40ssword@h.example/shop.git")]));
    let repository = settings.repository.as_ref().unwrap();
    assert_eq!(repository.url, "https://h.example/shop.git");
    assert_eq!(repository.username, "me");
    assert_eq!(repository.token.as_ref().map(ExposeSecret::expose_secret), Some("p@ssword"));
    for written in ["p@ssword", "p%40ssword"] {
        assert_eq!(settings.mask.apply(written), "***");
    }
    let shown = format!("{settings:?}");
    assert!(!shown.contains("ssword"), "{shown}");
}

#[test]
fn credentials_that_contradict_each_other_are_refused() {
    let url = ("GIT_REPO_URL", "https://me:hunter22@h.example/shop.git");
    loaded(with(&[url, ("GIT_TOKEN", "hunter22"), ("GIT_USERNAME", "me")]));
    assert_eq!(
        remedy(&[url, ("GIT_TOKEN", "tr0ub4dor")]),
        ("GIT_TOKEN".into(), "differs from the password in GIT_REPO_URL; keep one of them".into())
    );
    assert_eq!(
        remedy(&[url, ("GIT_USERNAME", "you")]),
        ("GIT_USERNAME".into(), "differs from the user in GIT_REPO_URL; keep one of them".into())
    );
    let shown = refused(with(&[url, ("GIT_TOKEN", "tr0ub4dor")]), Need::Worker);
    assert!(!shown.contains("tr0ub4dor") && !shown.contains("hunter22"), "{shown}");
}

#[test]
fn a_repository_may_be_a_path() {
    let place = with(&[("GIT_REPO_URL", "./shop.git")]);
    let expected = place.path("shop.git");
    assert_eq!(loaded(place).repository.unwrap().url, expected.to_str().unwrap());
    assert_eq!(
        loaded(with(&[("GIT_REPO_URL", "file:///srv/shop.git")])).repository.unwrap().url,
        "file:///srv/shop.git"
    );
}

#[test]
fn a_trunk_and_a_ref_prefix_must_leave_each_other_room() {
    let told = |trunk, prefix| remedy(&[("GIT_TRUNK", trunk), ("ACF_REF_PREFIX", prefix)]).1;
    assert!(told("acf", "refs/heads/acf/").contains("lies in it"));
    assert!(told("acf/main", "refs/heads/acf/").contains("lies in it"));
    assert!(told("main", "refs/heads/main/acf/").contains("below a branch"));
    loaded(with(&[("GIT_TRUNK", "acf2"), ("ACF_REF_PREFIX", "refs/heads/acf/")]));
}

#[test]
fn without_a_home_it_is_said_what_to_set_unless_nothing_needs_one() {
    let problems = load(&with(&[]).without_home().layers(), Need::Worker).unwrap_err();
    let named: Vec<_> = problems.as_slice().iter().map(|problem| problem.name.as_str()).collect();
    assert_eq!(named, ["HOME"]);
    loaded(with(&[("LOOP_WORK_DIR", "/work")]).without_home());
}

#[test]
fn secrets_are_in_no_output_whatever_is_wrong() {
    let secret = "s3cret-s3cret-s3cret-s3cret-s3cret-s3cret-s3cret";
    let place = with(&[
        ("GIT_TOKEN", secret),
        ("ANTHROPIC_API_KEY", "agent-key-of-mine"),
        ("TASK_MANAGER", secret),
        ("MAX_ATTEMPTS", &format!("x{secret}")),
        ("AGENT", "agent-key-of-mine"),
        ("GIT_REPO_URL", "https://me:tr0ub4dor@h.example/shop.git"),
    ])
    .config_file("git_token = \"misplaced\"\n");
    let problems = load(&place.layers(), Need::Worker).unwrap_err();
    let everything = format!("{problems}\n{problems:?}");
    for secret in ["s3cret", "agent-key", "tr0ub4dor", "misplaced"] {
        assert!(!everything.contains(secret), "{everything}");
    }
    assert!(problems.to_string().contains("AGENT"), "{problems}");

    let place = with(&[("GIT_TOKEN", secret), ("JIRA_TOKEN", "jira-token"), ("TODO_FILE", "jira-token")]);
    let settings = loaded(place.flag(&PROJECT, "--project", "git:TODO.md"));
    let shown = format!("{settings:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("jira-token"), "{shown}");
    assert_eq!(settings.mask.apply(&format!("a {secret} b jira-token")), "a *** b ***");
}

#[test]
fn a_flag_is_named_where_its_value_is_wrong() {
    let place = with(&[]).flag(&PROJECT, "--project", "git:");
    let shown = refused(place, Need::Worker);
    assert!(shown.contains("`git:` given by --project"), "{shown}");
}

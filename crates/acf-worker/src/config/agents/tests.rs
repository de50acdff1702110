use secrecy::ExposeSecret as _;

use super::*;
use crate::config::sources::tests::Place;
use crate::config::{Need, Settings, load};

/// Returns an environment with those variables, and what a worker needs besides an agent.
fn with(more: &[(&str, &str)]) -> Place {
    let least = [("PROJECT", "git:TODO.md"), ("GIT_REPO_URL", "https://h.example/shop.git")];
    Place::new(&[&least, more].concat())
}

fn loaded(place: Place) -> Settings {
    load(&place.layers(), Need::Worker).unwrap_or_else(|problems| panic!("{problems}"))
}

/// Returns the variables that the first agent is given of the operator's.
fn given(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let access = match loaded(with(more)).agent {
        Some(AgentChoice::Copilot(access) | AgentChoice::Codex(access)) => access,
        other => panic!("{other:?}"),
    };
    let exposed = |(name, value): (String, SecretString)| (name, value.expose_secret().to_owned());
    access.env.into_iter().map(exposed).collect()
}

#[test]
fn copilot_is_given_the_trackers_token_only_where_it_has_no_other_credential() {
    let given =
        |more: &[(&str, &str)]| given(&[&[("AGENT", "copilot"), ("GH_TOKEN", "ghp_acf")], more].concat());
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(given(&[]), [pair("COPILOT_GITHUB_TOKEN", "ghp_acf")]);
    assert_eq!(given(&[("COPILOT_GITHUB_TOKEN", "ghp_own")]), [pair("COPILOT_GITHUB_TOKEN", "ghp_own")]);
    let key = ("COPILOT_PROVIDER_API_KEY", "sk-other");
    assert_eq!(given(&[key]), [pair(key.0, key.1)]);
    let local = ("COPILOT_PROVIDER_BASE_URL", "http://localhost:11434/v1");
    assert_eq!(given(&[local, ("AGENT_ENV", local.0)]), [pair(local.0, local.1)]);
    assert_eq!(given(&[local]), [], "it sees that one of the environment, too");
    let further = [("GITHUB_TOKEN", "ghp_own"), ("AGENT_ENV", "GITHUB_TOKEN")];
    assert_eq!(given(&further), [pair("GITHUB_TOKEN", "ghp_own")]);
}

#[test]
fn whoever_gives_agents_what_acf_acts_by_is_warned_by_name() {
    let set = [
        ("GIT_TOKEN", "t-git"),
        ("JIRA_TOKEN", "t-jira"),
        ("AWS_PROFILE", "shop"),
        ("SSH_AUTH_SOCK", "/run/ssh"),
        ("ANTHROPIC_API_KEY", "sk-1"),
        ("NPM_TOKEN", "npm"),
    ];
    let warnings = |names: &str| {
        loaded(with(&[set.as_slice(), &[("AGENT", "script"), ("AGENT_ENV", names)]].concat())).warnings
    };
    assert_eq!(
        warnings("GIT_TOKEN,JIRA_TOKEN, NPM_TOKEN, AWS_PROFILE,GH_TOKEN,SSH_AUTH_SOCK"),
        [
            "AGENT_ENV gives agents AWS_PROFILE, GIT_TOKEN, JIRA_TOKEN, SSH_AUTH_SOCK, which acf acts by: so can \
             whatever an issue makes them do"
        ],
        "GH_TOKEN is not set"
    );
    assert_eq!(warnings("ANTHROPIC_API_KEY,NPM_TOKEN"), Vec::<String>::new());
    let looking = with(&[set.as_slice(), &[("AGENT_ENV", "GIT_TOKEN")]].concat()).layers();
    assert_eq!(load(&looking, Need::Tracker).unwrap().warnings, Vec::<String>::new(), "no agent is started");
}

#[test]
fn what_looks_like_a_secret_and_is_not_meant_for_agents_is_warned_of_by_name() {
    let set = [
        ("AGENT", "script"),
        ("GIT_TOKEN", "t-git"),
        ("COPY", "t-git"),
        ("NPM_TOKEN", "npm-7919"),
        ("DB_PASSWORD", "db-7919"),
        ("KEYBOARD", "qwerty"),
        ("EMPTY_KEY", ""),
    ];
    let warnings = |names: &str| loaded(with(&[&set[..], &[("AGENT_ENV", names)]].concat())).warnings;
    assert_eq!(
        warnings(""),
        [
            "agents see DB_PASSWORD, NPM_TOKEN of this environment, and so does whatever an issue makes them do: start \
          workers without (env -u DB_PASSWORD …), or name in AGENT_ENV what is meant for agents"
        ]
    );
    assert_eq!(warnings("DB_PASSWORD,NPM_TOKEN"), Vec::<String>::new());
}

#[test]
fn opencode_is_given_the_key_of_its_models_provider_alone() {
    let keys = [
        ("ANTHROPIC_API_KEY", "sk-a"),
        ("OPENAI_API_KEY", "sk-o"),
        ("GEMINI_API_KEY", "sk-g"),
        ("OPENROUTER_API_KEY", "sk-r"),
    ];
    let given = |agents: &str, model: (&str, &str)| {
        let settings = loaded(with(
            &[&keys[..], &[("AGENT", agents), model, ("AGENT_ENV", "EXTRA"), ("EXTRA", "x")]].concat(),
        ));
        match settings.fallbacks.into_iter().next().or(settings.agent) {
            Some(AgentChoice::Opencode(access)) => {
                access.env.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        }
    };
    for (model, key) in [
        ("anthropic/claude-sonnet-4-6", "ANTHROPIC_API_KEY"),
        ("openai/gpt-5.4", "OPENAI_API_KEY"),
        ("google/gemini-2.5-pro", "GEMINI_API_KEY"),
        ("openrouter/anthropic/claude-sonnet-4.5", "OPENROUTER_API_KEY"),
    ] {
        assert_eq!(given("opencode", ("OPENCODE_MODEL", model)), [key, "EXTRA"]);
        assert_eq!(given("opencode", ("AGENT_MODEL", model)), [key, "EXTRA"]);
    }
    let all = ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "OPENROUTER_API_KEY", "EXTRA"];
    assert_eq!(given("opencode", ("OPENCODE_MODEL", "scripted/m1")), all);
    assert_eq!(
        given("script,opencode", ("AGENT_MODEL", "openai/gpt-5.4")),
        all,
        "that is the first one's model"
    );
}

#[test]
fn the_tokens_of_a_claude_subscription_are_those_of_the_settings() {
    let whole = [
        ("AGENT", "claude"),
        ("CLAUDE_ACCESS_TOKEN", "access"),
        ("CLAUDE_REFRESH_TOKEN", "refresh"),
        ("CLAUDE_TOKEN_EXPIRES_AT", "4102444800000"),
        ("CLAUDE_SUBSCRIPTION_TYPE", "max"),
    ];
    let expected = Subscription {
        access_token: "access".into(),
        refresh_token: Some("refresh".into()),
        expires_at: Some(4_102_444_800_000),
        kind: Some("max".into()),
    };
    let least = Subscription { refresh_token: None, expires_at: None, kind: None, ..expected.clone() };
    for (settings, expected) in
        [(&whole[..], Some(expected)), (&whole[..2], Some(least)), (&whole[..1], None)]
    {
        match loaded(with(settings)).agent {
            Some(AgentChoice::Claude { subscription, .. }) => assert_eq!(subscription, expected),
            other => panic!("{other:?}"),
        }
    }
    let soon = [whole[0], whole[1], ("CLAUDE_TOKEN_EXPIRES_AT", "soon")];
    let problems = load(&with(&soon).layers(), Need::Worker).unwrap_err();
    assert_eq!(problems.as_slice()[0].remedy, "a number of milliseconds since 1970");
}

#[test]
fn a_budget_that_cannot_hold_is_warned_of() {
    let warnings = |more: &[(&str, &str)]| loaded(with(more)).warnings;
    let told = |budget: &str| {
        format!(
            "{budget} bounds nothing that codex does: it does not tell its model, so its cost is not known; set CODEX_MODEL"
        )
    };
    let codex = ("AGENT", "claude,codex");
    assert_eq!(warnings(&[codex, ("AGENT_BUDGET_USD", "2")]), [told("AGENT_BUDGET_USD")]);
    assert_eq!(warnings(&[codex, ("FACTORY_BUDGET_USD_PER_DAY", "9")]), [told("FACTORY_BUDGET_USD_PER_DAY")]);
    let both = [("AGENT_BUDGET_USD", "2"), ("FACTORY_BUDGET_USD_PER_DAY", "9")];
    let gemini = [("AGENT", "gemini"), ("GEMINI_MODEL", "gemini-unheard-of")];
    assert_eq!(
        warnings(&[both, gemini].concat()),
        ["AGENT_BUDGET_USD and FACTORY_BUDGET_USD_PER_DAY bound nothing that gemini does: its model \
          gemini-unheard-of has no price, AGENT_PRICES_FILE can give it one"]
    );
    let named = [codex, ("AGENT_BUDGET_USD", "2"), ("CODEX_MODEL", "gpt-5-codex")];
    assert_eq!((warnings(&[codex]), warnings(&named)), (vec![], vec![]));
}

#[test]
fn an_agents_program_is_found_wherever_the_agent_runs() {
    let program = |place: Place| match loaded(place).agent {
        Some(AgentChoice::Command { program, args, .. }) => (program, args),
        other => panic!("{other:?}"),
    };
    let command = |value| with(&[("AGENT", "command"), ("AGENT_COMMAND", value)]);
    assert_eq!(program(command("my-agent")), (PathBuf::from("my-agent"), vec![]));
    let place = command("./agents/mine --model 'big one'");
    let expected = place.path("agents/mine");
    assert_eq!(program(place), (expected, vec!["--model".into(), "big one".into()]));
    let quoted = command("'./my agents/mine' --fast");
    let expected = quoted.path("my agents/mine");
    assert_eq!(program(quoted), (expected, vec!["--fast".into()]));
    let bare = command("./my agents");
    std::fs::write(bare.path("my agents"), "").unwrap();
    let (layers, _directory) = bare.layers_and_directory();
    let told = load(&layers, Need::Worker).unwrap_err().to_string();
    assert!(told.contains("put quotes around a path with spaces: \"'./my agents'\""), "{told}");
    let refused = |value| {
        let problems = load(&command(value).layers(), Need::Worker).unwrap_err();
        let problem = &problems.as_slice()[0];
        (problem.name.clone(), problem.remedy.clone())
    };
    assert!(refused("'open").1.contains("quotes that end"));
    assert_eq!(refused(""), ("AGENT_COMMAND".into(), "the program that AGENT=command is to call".into()));
}

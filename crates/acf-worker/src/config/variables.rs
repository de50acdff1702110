//! Every variable that acf reads, declared once: the table behind parsing, reports and the reference.
//!
//! What a value means is not said here but where it is parsed, by [`super::load`].

/// The part of acf that a variable is about; the reference has one section for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// Where issues come from.
    Tracker,
    /// Where work goes.
    Repository,
    /// Who does the work.
    Agent,
    /// Which issues are taken, and how often.
    Rules,
    /// How a worker behaves.
    Worker,
    /// Where and under which name workers run.
    Factory,
    /// What acf tells its own workers.
    Internal,
}

impl Topic {
    /// All topics, in the order of the reference.
    pub const ALL: [Self; 7] = [
        Self::Tracker,
        Self::Repository,
        Self::Agent,
        Self::Rules,
        Self::Worker,
        Self::Factory,
        Self::Internal,
    ];
}

/// The form of a variable's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of those words.
    Choice(&'static [&'static str]),
    /// One or more of those words, with commas between them; in `acf.toml` also an array.
    Choices(&'static [&'static str]),
    /// A path, relative to the current directory or, from `acf.toml`, to that file.
    Path,
    /// What the tracker calls a project: for a TODO file, a path, or `git:` and a path in the target
    /// repository.
    Project,
    /// An address that git understands, or a path.
    Address,
    /// The address of a service, or the name of its host.
    Url,
    /// A program's name on `PATH`, or its path.
    Program,
    /// A duration such as `90s`, `30m` or `1h 30m`, or a plain number of seconds.
    Duration,
    /// A whole number.
    Number,
    /// An amount in US dollars.
    Dollars,
    /// `true` or `false`.
    Switch,
    /// Words with commas between them; in `acf.toml` also an array.
    List,
}

/// What holds where a variable is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// Nothing.
    None,
    /// That value.
    Value(&'static str),
    /// What those words describe.
    Described(&'static str),
}

/// A variable that acf reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name in the environment and in env files.
    pub name: &'static str,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// The part of acf that it is about.
    pub topic: Topic,
    /// The form of its value.
    pub kind: Kind,
    /// What holds where it is not set.
    pub default: Default,
    /// Whether its value is never shown.
    pub secret: bool,
    /// The choice with which alone it matters, as `NAME=value`.
    pub only_with: Option<&'static str>,
    /// Whether it may stand in `acf.toml`.
    pub in_config_file: bool,
}

impl Variable {
    const fn of(topic: Topic, kind: Kind) -> Self {
        Self {
            name: "",
            doc: "",
            topic,
            kind,
            default: Default::None,
            secret: false,
            only_with: None,
            in_config_file: !matches!(topic, Topic::Internal),
        }
    }

    const fn default(self, value: &'static str) -> Self {
        Self { default: Default::Value(value), ..self }
    }

    const fn otherwise(self, words: &'static str) -> Self {
        Self { default: Default::Described(words), ..self }
    }

    const fn only_with(self, choice: &'static str) -> Self {
        Self { only_with: Some(choice), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, in_config_file: false, ..self }
    }

    const fn not_in_config_file(self) -> Self {
        Self { in_config_file: false, ..self }
    }

    /// Returns the key under which it stands in `acf.toml`.
    #[must_use]
    pub fn config_key(&self) -> String {
        self.name.to_ascii_lowercase()
    }
}

/// The task managers of this build.
pub const TRACKERS: &[&str] = &["todo", "github", "jira"];
/// The agents of this build.
pub const AGENTS: &[&str] = &["claude", "codex", "copilot", "gemini", "opencode", "script", "command"];
/// The runtimes of this build.
pub const RUNTIMES: &[&str] = &["process"];

macro_rules! variables {
    ($(#[doc = $doc:literal] $name:ident = $declaration:expr;)+) => {
        $(
            #[doc = $doc]
            pub const $name: Variable =
                Variable { name: stringify!($name), doc: $doc.trim_ascii(), ..$declaration };
        )+

        /// Every variable, in the order of the reference.
        pub static ALL: &[Variable] = &[$($name),+];
    };
}

use Kind::{
    Address, Choice, Choices, Dollars, Duration, List, Number, Path, Program, Project, Switch, Text, Url,
};
use Topic::{Agent, Factory, Internal, Repository, Rules, Tracker, Worker};

variables! {
    /// The task manager that issues come from.
    TASK_MANAGER = Variable::of(Tracker, Choice(TRACKERS)).default("todo");
    /// The issues: `owner/repo` on GitHub, a project's key in Jira; `path/TODO.md` is a local file, `git:TODO.md` the file in the target repository.
    PROJECT = Variable::of(Tracker, Project);
    /// The issues' file where no `PROJECT` is given, written like one; both may be set to the same file only.
    TODO_FILE = Variable::of(Tracker, Project).only_with("TASK_MANAGER=todo");
    /// The account that workers take issues for.
    TODO_ASSIGNEE = Variable::of(Tracker, Text).default("acf").only_with("TASK_MANAGER=todo");
    /// The repository whose issues are taken where no `PROJECT` is given, as `owner/repo`.
    GITHUB_REPO = Variable::of(Tracker, Text).only_with("TASK_MANAGER=github");
    /// The token for GitHub: for issues, for pull requests whatever the tracker, and for the repository.
    GH_TOKEN = Variable::of(Tracker, Text).secret();
    /// The GitHub account that workers take issues for.
    GH_ASSIGNEE = Variable::of(Tracker, Text).otherwise("the token's own account").only_with("TASK_MANAGER=github");
    /// The REST API of GitHub; of a GitHub Enterprise it is `https://HOST/api/v3`.
    GITHUB_API_URL = Variable::of(Tracker, Url).default("https://api.github.com");
    /// The Jira Cloud site, as `acme.atlassian.net`.
    JIRA_SITE = Variable::of(Tracker, Url).only_with("TASK_MANAGER=jira");
    /// The mail address of the Atlassian account that the token belongs to.
    JIRA_EMAIL = Variable::of(Tracker, Text).only_with("TASK_MANAGER=jira");
    /// The API token for Jira.
    JIRA_TOKEN = Variable::of(Tracker, Text).secret().only_with("TASK_MANAGER=jira");
    /// The id of the Atlassian account that workers take issues for.
    JIRA_ASSIGNEE_ACCOUNT_ID = Variable::of(Tracker, Text).only_with("TASK_MANAGER=jira");
    /// The REST API of Jira; for a scoped token it is `https://api.atlassian.com/ex/jira/CLOUD-ID`.
    JIRA_API_URL = Variable::of(Tracker, Url).otherwise("`https://JIRA_SITE`").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues that wait to be taken.
    JIRA_STATUS_TO_DO = Variable::of(Tracker, Text).default("To Do").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues that are being implemented.
    JIRA_STATUS_IN_PROGRESS = Variable::of(Tracker, Text).default("In Progress").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues whose work waits for review.
    JIRA_STATUS_IN_REVIEW = Variable::of(Tracker, Text).default("In Review").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues that are finished.
    JIRA_STATUS_DONE = Variable::of(Tracker, Text).default("Done").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues that are being planned.
    JIRA_STATUS_PLANNING = Variable::of(Tracker, Text).default("Planning").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues whose plan waits for approval.
    JIRA_STATUS_AWAITING_PLAN_REVIEW =
        Variable::of(Tracker, Text).default("Awaiting Plan Review").only_with("TASK_MANAGER=jira");
    /// What the project calls the status of issues whose plan is approved.
    JIRA_STATUS_PLAN_APPROVED = Variable::of(Tracker, Text).default("Plan Approved").only_with("TASK_MANAGER=jira");

    /// The target repository; a user and a password in it are taken out at once and kept secret.
    GIT_REPO_URL = Variable::of(Repository, Address).otherwise("with `TASK_MANAGER=github` the project's own");
    /// The user for the repository; most hosts take any together with a token.
    GIT_USERNAME = Variable::of(Repository, Text).default("x-access-token");
    /// The token or password for the repository.
    GIT_TOKEN = Variable::of(Repository, Text).secret().otherwise("for a repository on GitHub `GH_TOKEN`");
    /// The branch that work starts from and lands on.
    GIT_TRUNK = Variable::of(Repository, Text).otherwise("the remote's default branch");
    /// The name that commits carry.
    GIT_AUTHOR_NAME = Variable::of(Repository, Text).default("acf");
    /// The mail address that commits carry.
    GIT_AUTHOR_EMAIL = Variable::of(Repository, Text).default("acf@localhost");
    /// The refs of claims and run records; `refs/heads/acf/` serves hosts that take only branches.
    ACF_REF_PREFIX = Variable::of(Repository, Text).default("refs/acf/");
    /// How long one git command may take.
    ACF_GIT_TIMEOUT = Variable::of(Repository, Duration).default("120s");
    /// Where repositories are cached and checked out.
    LOOP_WORK_DIR = Variable::of(Repository, Path).otherwise("`acf/work` in the user's cache directory");

    /// The coding agent; of several, each takes over when the one before has no quota left or is not signed in.
    AGENT = Variable::of(Agent, Choices(AGENTS));
    /// What is called as `CMD init` and `CMD run <prompt>`; with quotes as in a shell: `'/opt/my agent/run' --fast`.
    AGENT_COMMAND = Variable::of(Agent, Program).only_with("AGENT=command");
    /// The model, as the first agent's program names it; each agent's own variable goes over it.
    AGENT_MODEL = Variable::of(Agent, Text).otherwise("the agent's own choice");
    /// Further variables of the environment that agents get to see, by name.
    AGENT_ENV = Variable::of(Agent, List);
    /// The model of claude.
    CLAUDE_MODEL = Variable::of(Agent, Text).otherwise("`AGENT_MODEL`");
    /// The model of codex.
    CODEX_MODEL = Variable::of(Agent, Text).otherwise("`AGENT_MODEL`");
    /// The model of copilot.
    COPILOT_MODEL = Variable::of(Agent, Text).otherwise("`AGENT_MODEL`");
    /// The model of gemini.
    GEMINI_MODEL = Variable::of(Agent, Text).otherwise("`AGENT_MODEL`");
    /// The model of opencode, as PROVIDER/MODEL.
    OPENCODE_MODEL = Variable::of(Agent, Text).otherwise("`AGENT_MODEL`");
    /// The API key of claude, and of opencode with models of Anthropic.
    ANTHROPIC_API_KEY = Variable::of(Agent, Text).secret();
    /// A long-lived token of a Claude subscription, as `claude setup-token` makes it.
    CLAUDE_CODE_OAUTH_TOKEN = Variable::of(Agent, Text).secret();
    /// The access token of a Claude subscription, as `acf import-claude-credentials` finds it.
    CLAUDE_ACCESS_TOKEN = Variable::of(Agent, Text).secret();
    /// The token that claude renews the access token with.
    CLAUDE_REFRESH_TOKEN = Variable::of(Agent, Text).secret().only_with("CLAUDE_ACCESS_TOKEN");
    /// When the access token expires, in milliseconds since 1970.
    CLAUDE_TOKEN_EXPIRES_AT = Variable::of(Agent, Text).only_with("CLAUDE_ACCESS_TOKEN");
    /// The kind of the Claude subscription, such as pro or max.
    CLAUDE_SUBSCRIPTION_TYPE = Variable::of(Agent, Text).only_with("CLAUDE_ACCESS_TOKEN");
    /// The API key of codex.
    CODEX_API_KEY = Variable::of(Agent, Text).secret().otherwise("`OPENAI_API_KEY`");
    /// The API key of codex, and of opencode with models of OpenAI.
    OPENAI_API_KEY = Variable::of(Agent, Text).secret();
    /// The API key of gemini, and of opencode with models of Google.
    GEMINI_API_KEY = Variable::of(Agent, Text).secret();
    /// The API key of opencode with models of OpenRouter.
    OPENROUTER_API_KEY = Variable::of(Agent, Text).secret();
    /// The token of copilot, of a user who has a licence for it; one of its own keeps `GH_TOKEN` from the agent.
    COPILOT_GITHUB_TOKEN = Variable::of(Agent, Text).secret().otherwise("`GH_TOKEN`, unless copilot has another provider");
    /// The API key of copilot with a model of another provider.
    COPILOT_PROVIDER_API_KEY = Variable::of(Agent, Text).secret();
    /// How long the rounds of an agent may take in a run, waits apart; a shorter limit of the repository holds too.
    AGENT_TIMEOUT = Variable::of(Agent, Duration).otherwise("the repository's limit, else `60m`");
    /// How long the agent may be silent; a shorter limit of the repository holds too.
    AGENT_STALL_TIMEOUT = Variable::of(Agent, Duration).otherwise("the repository's limit, else `10m`");
    /// How many turns of the conversation with the model a run may take.
    AGENT_MAX_TURNS = Variable::of(Agent, Number);
    /// What a run may cost, as far as agents tell their cost or acf can estimate it.
    AGENT_BUDGET_USD = Variable::of(Agent, Dollars);
    /// A file of prices that go over acf's own, for agents that tell tokens and no cost.
    AGENT_PRICES_FILE = Variable::of(Agent, Path);
    /// The unprivileged user as whom agents and the repository's commands run; the worker has to be root.
    ACF_AGENT_USER = Variable::of(Agent, Text).otherwise("the worker's own user");
    /// A template that replaces the repository's and the built-in prompt for implementing.
    IMPLEMENTATION_PROMPT = Variable::of(Agent, Text);
    /// A template that replaces the repository's and the built-in prompt for planning.
    PLANNING_PROMPT = Variable::of(Agent, Text);

    /// Whether work goes to `feature/KEY`, unless the issue is labelled skip-branch.
    FEATURE_BRANCHES = Variable::of(Rules, Switch).default("false");
    /// Whether every issue needs an approved plan, unless it is labelled skip-plan.
    PLAN_BY_DEFAULT = Variable::of(Rules, Switch).default("false");
    /// Labels that an issue has to carry to be taken.
    REQUIRED_LABELS = Variable::of(Rules, List);
    /// After how many failed attempts an issue is blocked.
    MAX_ATTEMPTS = Variable::of(Rules, Number).default("3");
    /// The wait after a first failed attempt; it doubles with each one more, up to 5 minutes.
    RETRY_BACKOFF = Variable::of(Rules, Duration).default("10s");
    /// What the runs of a day (UTC) may cost, all workers' taken together; then no issue is taken until the next.
    FACTORY_BUDGET_USD_PER_DAY = Variable::of(Rules, Dollars);

    /// The wait when there is no issue to take.
    NO_ISSUES_WAIT = Variable::of(Worker, Duration).default("60");
    /// The wait between two issues.
    INTER_ISSUE_WAIT = Variable::of(Worker, Duration).default("0");
    /// How long a worker works on an issue before it looks whether the issue is still to be worked on.
    ISSUE_RECHECK = Variable::of(Worker, Duration).default("5m");
    /// How long a claim holds without being renewed; the issues of a worker that died wait that long.
    ACF_CLAIM_TTL = Variable::of(Worker, Duration).default("30m");
    /// How long a worker that is told to stop may take to save its work.
    STOP_GRACE = Variable::of(Worker, Duration).default("30s");
    /// Which log lines are written, by level and part (`acf_worker`, `acf_trackers`): `debug`, `acf_worker::git=debug`.
    ACF_LOG = Variable::of(Worker, Text).default("info");

    /// Where workers run.
    FACTORY_RUNTIME = Variable::of(Factory, Choice(RUNTIMES)).default("process");
    /// The factory's name, which tells its workers from those of another factory on this machine.
    FACTORY_NAME = Variable::of(Factory, Text).default("default");
    /// A file of variables, as `--env-file` names it too.
    FACTORY_ENV_FILE = Variable::of(Factory, Path).not_in_config_file();

    /// The worker's id.
    ACF_WORKER_ID = Variable::of(Internal, Text).otherwise("generated");
    /// Where the worker appends what happens in it, as lines of JSON.
    ACF_EVENTS_FILE = Variable::of(Internal, Path);
    /// Secrets that the worker masks though none of its settings holds them, as a list of JSON.
    ACF_MASKED = Variable::of(Internal, Text).secret();
}

/// Returns the variable of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Variable> {
    ALL.iter().find(|variable| variable.name == name)
}

/// A variable that belongs to other parts or programs: acf does not act on it, and no agent sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its name.
    pub name: &'static str,
    /// Whether its value is masked wherever it might show.
    pub secret: bool,
}

const fn open(name: &'static str) -> Foreign {
    Foreign { name, secret: false }
}

const fn secret(name: &'static str) -> Foreign {
    Foreign { name, secret: true }
}

/// The variables that are taken out of the environment of agents though acf does not use them.
pub static FOREIGN: &[Foreign] = &[
    secret("GITHUB_TOKEN"),
    open("GH_USERNAME"),
    secret("ANTHROPIC_AUTH_TOKEN"),
    open("FACTORY_WORKER_IMAGE"),
    open("FACTORY_PLANNER_IMAGE"),
    open("FACTORY_AWS_REGION"),
    open("FACTORY_AWS_CLUSTER"),
    open("FACTORY_AWS_SUBNET_ID"),
    open("FACTORY_AWS_SECURITY_GROUP_ID"),
    open("FACTORY_AWS_LOG_GROUP"),
    open("AWS_ACCESS_KEY_ID"),
    secret("AWS_SECRET_ACCESS_KEY"),
    secret("AWS_SESSION_TOKEN"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_declared_once() {
        let names: Vec<_> = ALL
            .iter()
            .map(|variable| variable.name)
            .chain(FOREIGN.iter().map(|foreign| foreign.name))
            .collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn every_variable_says_in_one_sentence_what_it_is_for() {
        for variable in ALL {
            assert!(variable.doc.ends_with('.'), "{}: {:?}", variable.name, variable.doc);
            assert!(!variable.doc.contains(['\n', '|']), "{}: {:?}", variable.name, variable.doc);
        }
    }

    #[test]
    fn no_secret_and_nothing_internal_may_stand_in_the_config_file() {
        for variable in ALL.iter().filter(|variable| variable.in_config_file) {
            assert!(!variable.secret && variable.topic != Internal, "{}", variable.name);
        }
        assert!(ALL.iter().any(|variable| variable.secret));
    }

    #[test]
    fn a_choice_has_a_default_among_its_words_or_none() {
        for variable in ALL {
            if let (Choice(known), Default::Value(default)) = (variable.kind, variable.default) {
                assert!(known.contains(&default), "{}", variable.name);
            }
        }
    }

    #[test]
    fn variables_are_found_by_their_exact_name() {
        assert_eq!(find("GIT_TOKEN").map(|variable| variable.secret), Some(true));
        assert_eq!(find("git_token").map(|variable| variable.name), None);
    }
}

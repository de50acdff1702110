//! What the stand-in holds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use acf_core::issue::IssueKey;
use serde_json::{Value, json};

use super::jql;
use super::schema::DocumentSchema;

/// The key of the project.
pub(super) const PROJECT: &str = "ACF";
/// Who the token belongs to.
pub const EMAIL: &str = "bot@acme.test";
/// The token.
pub const TOKEN: &str = "ATATT3xFfGF0-secret-of-the-tests=1A2B3C4D";
/// The account that the token belongs to.
pub const ACCOUNT: &str = "5b10ac8d82e05b22cc7d4ef5";
/// Another account.
pub const OTHER_ACCOUNT: &str = "712020:b1b2-ada";
/// The id of the one type of issue.
const ISSUE_TYPE: &str = "10001";

/// An issue as the stand-in keeps it.
#[derive(Clone, Debug, Default)]
pub struct IssueState {
    /// Its key.
    pub key: String,
    /// Its title.
    pub summary: String,
    /// Its description, a document or null.
    pub description: Value,
    /// The name of its status.
    pub status: String,
    /// The account that has it.
    pub assignee: Option<String>,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// The keys of issues that block it.
    pub blockers: Vec<String>,
    /// Its comments as they were sent, oldest first.
    pub comments: Vec<Value>,
}

/// A project with all that belongs to it.
#[derive(Debug)]
pub struct Site {
    state: Mutex<State>,
    schema: Option<DocumentSchema>,
}

/// Fields of a screen: id and name.
type Fields = Vec<(String, String)>;

/// A transition that an issue can make.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) id: String,
    name: String,
    pub(super) to: String,
    /// What its screen requires; `None` where it has no screen.
    pub(super) fields: Option<Fields>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) statuses: Vec<String>,
    /// All issues in rank order.
    pub(super) issues: Vec<IssueState>,
    /// What the issues were after each request, for the search.
    past: Vec<Vec<IssueState>>,
    next_number: u64,
    /// The former keys of issues that were moved to another project.
    pub(super) moved: BTreeMap<String, String>,
    /// The names of statuses that no transition leads to, by where it would start; `None` for anywhere.
    pub(super) closed_ways: BTreeSet<(Option<String>, String)>,
    /// The fields that transitions to a status require: id and name.
    screens: BTreeMap<String, Fields>,
    /// Further transitions, each to a status, with the fields that its screen requires.
    detours: Vec<(String, Fields)>,
    pub(super) assignable: BTreeSet<String>,
    pub(super) scopes: BTreeSet<String>,
    /// The permissions that the account lacks in the project, as the API names them.
    pub(super) forbidden: BTreeSet<String>,
    /// Whether the field for labels is missing on the screen by which issues are edited.
    pub(super) hides_labels: bool,
    /// Whether it ranks its issues, as Jira Software alone does.
    has_ranks: bool,
    pub(super) token: String,
    /// Whether those who fail to log in are served as nobody, as some of Jira's calls do.
    pub(super) serves_nobody: bool,
    /// How many requests the search lags behind.
    pub(super) lag: usize,
    pub(super) page_size: usize,
    /// Whether the list of an issue's comments tells their properties when asked to.
    pub(super) lists_properties: bool,
    violations: Vec<String>,
}

impl Site {
    pub(super) fn new(statuses: &[&str]) -> Self {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let state = State {
            statuses: texts(statuses),
            issues: Vec::new(),
            past: Vec::new(),
            next_number: 1,
            moved: BTreeMap::new(),
            closed_ways: BTreeSet::new(),
            screens: BTreeMap::new(),
            detours: Vec::new(),
            assignable: texts(&[ACCOUNT, OTHER_ACCOUNT]).into_iter().collect(),
            scopes: texts(&["read:jira-work", "write:jira-work", "read:jira-user"]).into_iter().collect(),
            forbidden: BTreeSet::new(),
            hides_labels: false,
            has_ranks: true,
            token: TOKEN.to_owned(),
            serves_nobody: false,
            lag: 0,
            page_size: 100,
            lists_properties: true,
            violations: Vec::new(),
        };
        Self { state: Mutex::new(state), schema: DocumentSchema::find() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an issue, ranked below all others, and returns its key.
    ///
    /// # Panics
    /// Never: the key is well formed.
    pub fn add(&self, issue: IssueState) -> IssueKey {
        let mut state = self.lock();
        let key = format!("{PROJECT}-{}", state.next_number);
        state.next_number += 1;
        state.issues.push(IssueState { key: key.clone(), ..issue });
        key.parse().expect("a key of the project")
    }

    /// Adds an issue of that title that waits to be taken.
    pub fn add_to_do(&self, summary: &str) -> IssueKey {
        self.add(IssueState {
            summary: summary.to_owned(),
            status: "To Do".to_owned(),
            ..IssueState::default()
        })
    }

    /// Returns all issues, those of other projects included.
    pub fn issues(&self) -> Vec<IssueState> {
        self.lock().issues.clone()
    }

    /// Returns the names of all statuses.
    pub fn statuses(&self) -> Vec<String> {
        self.lock().statuses.clone()
    }

    /// Looks at an issue.
    ///
    /// # Panics
    /// Where there is no such issue.
    pub fn read<T>(&self, key: &str, look: impl FnOnce(&IssueState) -> T) -> T {
        look(self.lock().find(key).expect("the issue is there"))
    }

    /// Changes an issue as a person does.
    ///
    /// # Panics
    /// Where there is no such issue.
    pub fn change(&self, key: &str, change: impl FnOnce(&mut IssueState)) {
        change(self.lock().find(key).expect("the issue is there"));
    }

    /// Deletes an issue.
    pub fn delete(&self, key: &str) {
        self.lock().issues.retain(|issue| issue.key != key);
    }

    /// Moves an issue to another project, where it gets another key; the old one still finds it.
    pub fn move_away(&self, key: &str, new_key: &str) {
        self.change(key, |issue| new_key.clone_into(&mut issue.key));
        self.lock().moved.insert(key.to_owned(), new_key.to_owned());
    }

    /// Offers one more transition to a status, before the plain one, whose screen asks for fields, given by id
    /// and name.
    pub fn offer_detour(&self, to: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|&(id, name)| (id.to_owned(), name.to_owned())).collect();
        self.lock().detours.push((to.to_owned(), fields));
    }

    /// Takes away the transitions to a status: from another one, or from anywhere.
    pub fn close_way(&self, from: Option<&str>, to: &str) {
        self.lock().closed_ways.insert((from.map(str::to_owned), to.to_owned()));
    }

    /// Makes the transitions to a status ask for fields, given by id and name.
    pub fn require_fields(&self, to: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|&(id, name)| (id.to_owned(), name.to_owned())).collect();
        self.lock().screens.insert(to.to_owned(), fields);
    }

    /// Makes an account one that cannot be assigned.
    pub fn forbid_assigning(&self, account: &str) {
        self.lock().assignable.remove(account);
    }

    /// Takes a permission from the account, for every issue: `ADD_COMMENTS`.
    pub fn forbid(&self, permission: &str) {
        self.lock().forbidden.insert(permission.to_owned());
    }

    /// Makes it a site without Jira Software, whose issues have no rank.
    pub fn rank_nothing(&self) {
        self.lock().has_ranks = false;
    }

    /// Takes the field for labels off the screen by which issues are edited.
    pub fn hide_labels(&self) {
        self.lock().hides_labels = true;
    }

    /// Takes a scope from the token.
    pub fn remove_scope(&self, scope: &str) {
        self.lock().scopes.remove(scope);
    }

    /// Makes the token another one, as when it expires.
    pub fn revoke_token(&self) {
        self.lock().token.push_str("-revoked");
    }

    /// From now on, those who fail to log in are served as nobody.
    pub fn serve_nobody(&self) {
        self.lock().serves_nobody = true;
    }

    /// Makes the search lag behind by so many requests.
    pub fn set_lag(&self, requests: usize) {
        self.lock().lag = requests;
    }

    /// Makes pages that short at most.
    pub fn set_page_size(&self, size: usize) {
        self.lock().page_size = size;
    }

    /// Makes the list of an issue's comments keep their properties to itself.
    pub fn list_no_properties(&self) {
        self.lock().lists_properties = false;
    }

    pub(super) fn object_to(&self, document: &Value) -> bool {
        let found = self.schema.as_ref().map(|schema| schema.violations(document)).unwrap_or_default();
        let is_wrong = !found.is_empty();
        self.lock().violations.extend(found);
        is_wrong
    }

    pub(super) fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().violations)
    }
}

impl State {
    pub(super) fn find(&mut self, key: &str) -> Option<&mut IssueState> {
        let key = self.moved.get(key).map_or(key, String::as_str);
        self.issues.iter_mut().find(|issue| issue.key.eq_ignore_ascii_case(key))
    }

    /// Counts a request.
    pub(super) fn tick(&mut self) {
        self.past.push(self.issues.clone());
    }

    /// Returns the issues as the search knows them.
    pub(super) fn searched(&self) -> &[IssueState] {
        match self.lag {
            0 => &self.issues,
            lag => self.past.len().checked_sub(lag).map_or(&[], |at| &self.past[at]),
        }
    }

    /// Finds what a query asks for, or says what is wrong with it.
    pub(super) fn query(&self, jql: &str) -> Result<Vec<IssueState>, String> {
        let query = jql::parse(jql, &self.statuses, self.has_ranks)?;
        let in_project = |issue: &&IssueState| issue.key.starts_with(PROJECT);
        Ok(self.searched().iter().filter(in_project).filter(|issue| query.holds(issue)).cloned().collect())
    }

    /// Returns the transitions that an issue can make: none to where it is.
    pub(super) fn transitions(&self, issue: &IssueState) -> Vec<Way> {
        let is_open = |way: &Way| {
            let (from, to) = (Some(issue.status.clone()), way.to.clone());
            !self.closed_ways.contains(&(None, to.clone())) && !self.closed_ways.contains(&(from, to))
        };
        let detours = self.detours.iter().enumerate().map(|(at, (to, fields))| Way {
            id: (at * 10 + 901).to_string(),
            name: format!("Detour {}", at + 1),
            to: to.clone(),
            fields: Some(fields.clone()),
        });
        // Names that say nothing of where they lead.
        let plain = self.statuses.iter().enumerate().map(|(at, to)| Way {
            id: (at * 10 + 11).to_string(),
            name: format!("Step {}", at + 1),
            to: to.clone(),
            fields: self.screens.get(to).cloned(),
        });
        detours.chain(plain).filter(|way| way.to != issue.status && is_open(way)).collect()
    }

    pub(super) fn transition_json(Way { id, name, to, fields }: &Way, with_fields: bool) -> Value {
        let mut transition = json!({
            "id": id, "name": name, "hasScreen": fields.is_some(), "isAvailable": true, "to": status(to),
        });
        if with_fields {
            let field = |(id, name): &(String, String)| {
                (
                    id.clone(),
                    json!({ "required": true, "name": name, "hasDefaultValue": false, "operations": ["set"] }),
                )
            };
            let mut fields: serde_json::Map<_, _> = fields.iter().flatten().map(field).collect();
            fields.insert("comment".to_owned(), json!({ "required": false, "name": "Comment" }));
            transition["fields"] = fields.into();
        }
        transition
    }

    pub(super) fn issue_json(&self, issue: &IssueState) -> Value {
        let link = |key: &String| {
            let of_blocker = self.issues.iter().find(|other| other.key == *key);
            let blocker_status = of_blocker.map_or("To Do", |blocker| &*blocker.status);
            json!({
                "id": "1", "type": { "id": "10000", "name": "Blocks", "inward": "is blocked by", "outward": "blocks" },
                "inwardIssue": { "id": "2", "key": key, "fields": { "status": status(blocker_status) } },
            })
        };
        let mut links: Vec<_> = issue.blockers.iter().map(link).collect();
        // What this issue blocks is no reason for it to wait.
        links.push(json!({
            "id": "3", "type": { "id": "10000", "name": "Blocks", "inward": "is blocked by", "outward": "blocks" },
            "outwardIssue": { "id": "4", "key": "ACF-999", "fields": { "status": status("To Do") } },
        }));
        let account =
            |account: &String| json!({ "accountId": account, "displayName": "Somebody", "active": true });
        json!({
            "id": issue.key.trim_start_matches("ACF-"), "key": issue.key, "self": "https://acme.atlassian.net/x",
            "fields": {
                "summary": issue.summary, "description": issue.description, "status": status(&issue.status),
                "assignee": issue.assignee.as_ref().map(account), "labels": issue.labels,
                "issuelinks": links, "issuetype": { "id": ISSUE_TYPE, "name": "Task", "subtask": false },
            },
        })
    }

    pub(super) fn type_statuses(&self) -> Value {
        let statuses: Vec<_> = self.statuses.iter().map(|name| status(name)).collect();
        json!([{ "id": ISSUE_TYPE, "name": "Task", "subtask": false, "statuses": statuses }])
    }
}

/// Tells whether a status is of the category of what is done.
pub(super) fn is_done(status: &str) -> bool {
    matches!(status, "Done" | "Closed" | "Fertig")
}

fn status(name: &str) -> Value {
    let (key, category) = if is_done(name) { ("done", "Done") } else { ("indeterminate", "In Progress") };
    json!({ "id": "1", "name": name, "statusCategory": { "id": 3, "key": key, "name": category } })
}

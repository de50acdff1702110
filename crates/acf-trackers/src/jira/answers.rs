//! What Jira answers, as far as acf reads it, and what it means.
//!
//! The shapes are those of <https://developer.atlassian.com/cloud/jira/platform/rest/v3/>.

use std::collections::{BTreeMap, BTreeSet};

use acf_core::issue::{Issue, IssueKey, label};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

use super::adf::to_markdown;
use super::workflow::{Place, Workflow};

/// The fields that [`RawIssue`] is made of.
pub(super) const FIELDS: [&str; 7] =
    ["summary", "description", "status", "assignee", "labels", "issuelinks", "issuetype"];

#[derive(Debug, Deserialize)]
pub(super) struct RawIssue {
    pub(super) key: String,
    pub(super) fields: Fields,
    #[serde(default)]
    pub(super) transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Fields {
    summary: Option<String>,
    description: Option<Value>,
    pub(super) status: RawStatus,
    pub(super) assignee: Option<Account>,
    labels: Option<BTreeSet<String>>,
    issuelinks: Option<Vec<Link>>,
    issuetype: IssueType,
}

#[derive(Debug, Deserialize)]
pub(super) struct RawStatus {
    pub(super) name: String,
    #[serde(rename = "statusCategory")]
    category: Option<Category>,
}

#[derive(Debug, Deserialize)]
struct Category {
    key: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Account {
    #[serde(rename = "accountId")]
    pub(super) account_id: String,
}

/// What the account may do in a project, by Jira's name for each permission.
#[derive(Debug, Deserialize)]
pub(super) struct Permissions {
    pub(super) permissions: BTreeMap<String, Permission>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Permission {
    #[serde(rename = "havePermission")]
    pub(super) have: bool,
}

#[derive(Debug, Deserialize)]
struct IssueType {
    id: String,
}

/// A link to another issue; `inward` says how the one at hand is linked to `inward_issue`.
#[derive(Debug, Deserialize)]
struct Link {
    #[serde(rename = "type")]
    kind: LinkKind,
    #[serde(rename = "inwardIssue")]
    inward_issue: Option<LinkedIssue>,
}

#[derive(Debug, Deserialize)]
struct LinkKind {
    name: Option<String>,
    inward: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LinkedIssue {
    key: String,
    fields: Option<LinkedFields>,
}

#[derive(Debug, Deserialize)]
struct LinkedFields {
    status: Option<RawStatus>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Transition {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) to: Target,
    #[serde(rename = "hasScreen")]
    has_screen: Option<bool>,
    #[serde(rename = "isAvailable")]
    is_available: Option<bool>,
    /// The fields of its screen by id, where they were asked for.
    #[serde(default)]
    fields: BTreeMap<String, ScreenField>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
}

#[derive(Clone, Debug, Deserialize)]
struct ScreenField {
    name: Option<String>,
    #[serde(default)]
    required: bool,
    #[serde(rename = "hasDefaultValue", default)]
    has_default: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Transitions {
    pub(super) transitions: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SearchPage {
    /// Each for itself: one that cannot be read must not cost the others.
    #[serde(default)]
    pub(super) issues: Vec<Box<RawValue>>,
    #[serde(rename = "nextPageToken")]
    pub(super) next_page_token: Option<String>,
}

/// What can be read of any issue at all.
#[derive(Debug, Deserialize)]
struct Named {
    key: String,
}

/// An issue that the search found and that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    /// Its key, where that can be read.
    pub(super) key: String,
    /// Why it cannot be read.
    pub(super) why: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CommentPage {
    pub(super) comments: Vec<Comment>,
    pub(super) total: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct CommentList {
    pub(super) values: Vec<Comment>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Comment {
    id: String,
    properties: Option<Vec<Property>>,
}

/// A comment that was just said, as Jira confirms it.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    #[serde(rename = "id")]
    _id: String,
}

#[derive(Debug, Deserialize)]
struct Property {
    key: String,
    /// Anybody's, in any shape: acf's own is read once it is found.
    value: Box<RawValue>,
}

#[derive(Debug, Deserialize)]
struct Marker {
    marker: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TypeStatuses {
    pub(super) id: String,
    pub(super) statuses: Vec<RawStatus>,
}

impl RawStatus {
    fn is_done(&self) -> bool {
        self.category.as_ref().is_some_and(|category| category.key == "done")
    }
}

impl Transition {
    pub(super) fn can_be_made(&self) -> bool {
        self.is_available != Some(false)
    }

    /// Tells whether it asks for something, as far as is known.
    pub(super) fn has_screen(&self) -> bool {
        self.has_screen == Some(true)
    }

    /// Names the fields that have to be given and have no value of their own.
    pub(super) fn required_fields(&self) -> Vec<String> {
        let fields = self.fields.iter().filter(|(_, field)| field.required && !field.has_default);
        fields.map(|(id, field)| format!("{} ({id})", field.name.as_deref().unwrap_or(id))).collect()
    }
}

impl Comment {
    /// Returns its id as a number, if its properties were not told.
    pub(super) fn id_to_ask_for(&self) -> Option<u64> {
        if self.properties.is_some() { None } else { self.id.parse().ok() }
    }

    /// Tells whether acf said it with that marker, which lies in a property that people do not see.
    pub(super) fn carries(&self, marker: &str) -> bool {
        let is_marked = |value: &RawValue| {
            serde_json::from_str(value.get()).is_ok_and(|found: Marker| found.marker == marker)
        };
        let mut own = self.properties.iter().flatten().filter(|found| found.key == super::MARKER_PROPERTY);
        own.any(|property| is_marked(&property.value))
    }
}

impl Link {
    /// Returns what has to be done first and is not.
    fn blocker(&self) -> Option<&str> {
        let is = |text: &Option<String>, wanted: &str| {
            text.as_deref().is_some_and(|text| text.trim().eq_ignore_ascii_case(wanted))
        };
        if !(is(&self.kind.inward, "is blocked by") || is(&self.kind.name, "blocks")) {
            return None;
        }
        let blocker = self.inward_issue.as_ref()?;
        let status = blocker.fields.as_ref().and_then(|fields| fields.status.as_ref());
        (!status.is_some_and(RawStatus::is_done)).then_some(&*blocker.key)
    }
}

impl RawIssue {
    /// Reads an issue that the search found. People write descriptions deeper than is read here (lists in
    /// lists in tables), as that many levels are no text any more but an attempt on the stack.
    pub(super) fn found(text: &RawValue) -> Result<Self, Unreadable> {
        serde_json::from_str(text.get()).map_err(|error| {
            let named = serde_json::from_str(text.get()).ok().map(|Named { key }| key);
            // The place in the text says nothing to anybody.
            let why = error.to_string().split(" at line ").next().unwrap_or_default().to_owned();
            Unreadable { key: named.unwrap_or_else(|| "an issue without a key".to_owned()), why }
        })
    }

    pub(super) fn labels(&self) -> BTreeSet<String> {
        self.fields.labels.clone().unwrap_or_default()
    }

    /// Returns its labels as they are compared: Jira keeps `Needs-Plan` and `needs-plan` apart.
    pub(super) fn canonical_labels(&self) -> BTreeSet<String> {
        self.labels().iter().map(|name| label::canonical(name).to_owned()).collect()
    }

    pub(super) fn place<'a>(&'a self, labels: &'a BTreeSet<String>) -> Place<'a> {
        let Fields { status, issuetype, .. } = &self.fields;
        Place { issue_type: &issuetype.id, status: &status.name, is_done: status.is_done(), labels }
    }

    /// Returns what it means to acf; `None` where its key is none.
    pub(super) fn meaning(&self, workflow: &Workflow, site: &Url) -> Option<Issue> {
        let key: IssueKey = self.key.parse().ok()?;
        let labels = self.canonical_labels();
        let fields = &self.fields;
        let links = fields.issuelinks.as_deref().unwrap_or_default();
        Some(Issue {
            url: Some(browse_url(site, &key)),
            key,
            summary: fields.summary.clone().unwrap_or_default(),
            description: fields.description.as_ref().map(to_markdown).unwrap_or_default(),
            status: workflow.status(&self.place(&labels)),
            labels,
            assignee: fields.assignee.as_ref().map(|account| account.account_id.clone()),
            blocked_by: links.iter().filter_map(Link::blocker).map(str::to_owned).collect(),
            identity: None,
        })
    }
}

/// Returns where people read an issue.
fn browse_url(site: &Url, key: &IssueKey) -> String {
    format!("{}/browse/{key}", site.as_str().trim_end_matches('/'))
}

//! Jira Cloud as the tracker.

use acf_core::issue::Status;
use acf_trackers::jira::{Settings, StatusNames};
use secrecy::SecretString;
use url::Url;

use super::reader::Reader;
use super::service_url;
use super::variables::{
    JIRA_API_URL, JIRA_ASSIGNEE_ACCOUNT_ID, JIRA_EMAIL, JIRA_SITE, JIRA_STATUS_AWAITING_PLAN_REVIEW,
    JIRA_STATUS_DONE, JIRA_STATUS_IN_PROGRESS, JIRA_STATUS_IN_REVIEW, JIRA_STATUS_PLAN_APPROVED,
    JIRA_STATUS_PLANNING, JIRA_STATUS_TO_DO, JIRA_TOKEN, PROJECT, Variable,
};

/// The statuses, and the variables that say what they are called.
const STATUSES: [(Status, &Variable); 7] = [
    (Status::ToDo, &JIRA_STATUS_TO_DO),
    (Status::Planning, &JIRA_STATUS_PLANNING),
    (Status::AwaitingPlanReview, &JIRA_STATUS_AWAITING_PLAN_REVIEW),
    (Status::PlanApproved, &JIRA_STATUS_PLAN_APPROVED),
    (Status::InProgress, &JIRA_STATUS_IN_PROGRESS),
    (Status::InReview, &JIRA_STATUS_IN_REVIEW),
    (Status::Done, &JIRA_STATUS_DONE),
];

/// Reads the tracker's settings. What is missing is noted.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<Settings> {
    let project = needed(reader, &PROJECT, "the project's key, e.g. ACF", project_key);
    if reader.found(&JIRA_SITE).is_none() {
        reader.missing(&JIRA_SITE, "your site, e.g. acme.atlassian.net");
    }
    let site_url = reader.url(&JIRA_SITE, site);
    let email =
        needed(reader, &JIRA_EMAIL, "the mail address of the account that the token belongs to", email);
    let token = needed(
        reader,
        &JIRA_TOKEN,
        "create one in your Atlassian account's security settings; docs/jira.md says how",
        token,
    );
    let account_id = needed(
        reader,
        &JIRA_ASSIGNEE_ACCOUNT_ID,
        "the account that issues are taken for; docs/jira.md says where it is found",
        account_id,
    );
    let api_url = reader.found(&JIRA_API_URL).map(|_| reader.url(&JIRA_API_URL, service_url::parse));
    let statuses = statuses(reader);
    let site_url = site_url?;
    Some(Settings {
        api_url: api_url.unwrap_or_else(|| Some(site_url.clone()))?,
        site_url,
        project: project?,
        email: email?,
        token: SecretString::from(token?),
        account_id: account_id?,
        statuses: statuses?,
    })
}

fn needed<T>(
    reader: &mut Reader<'_>,
    variable: &Variable,
    remedy: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    if reader.found(variable).is_none() {
        reader.missing(variable, remedy);
    }
    reader.parse(variable, parse)
}

fn statuses(reader: &mut Reader<'_>) -> Option<StatusNames> {
    let mut taken: Vec<(Status, String)> = Vec::new();
    let mut all_are_usable = true;
    for (status, variable) in STATUSES {
        let Some(name) = reader.parse(variable, one_line) else {
            all_are_usable = false;
            continue;
        };
        let same = taken.iter().find(|(_, other)| other.to_lowercase() == name.to_lowercase());
        if let (Some((other, _)), Some(found)) = (same, reader.found(variable)) {
            let remedy = format!("the status {other} has that name already; each needs its own");
            reader.wrong(variable, &found, remedy);
            all_are_usable = false;
        }
        taken.push((status, name));
    }
    all_are_usable.then(|| taken.into_iter().collect())
}

fn project_key(text: &str) -> Result<String, String> {
    // https://support.atlassian.com/jira-cloud-administration/docs/edit-a-projects-details/
    let key = text.to_ascii_uppercase();
    let begins_well = key.starts_with(|c: char| c.is_ascii_uppercase());
    let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if begins_well && is_plain && key.len() <= 40 {
        Ok(key)
    } else {
        Err("write a project's key, as ACF in ACF-12".to_owned())
    }
}

fn site(text: &str) -> Result<Url, String> {
    let address = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let url = service_url::parse(&address)
        .map_err(|_| "write your site's name, as acme.atlassian.net".to_owned())?;
    if url.path() == "/" {
        Ok(url)
    } else {
        Err("write the site alone, without a path: acme.atlassian.net".to_owned())
    }
}

fn email(text: &str) -> Result<String, String> {
    // The mail address and the token are joined by a colon in the header.
    match text.split_once('@') {
        Some((name, host)) if !name.is_empty() && !host.is_empty() && !text.contains([':', ' ']) => {
            one_line(text)
        }
        _ => Err("write a mail address".to_owned()),
    }
}

fn token(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("a token is one word of plain letters, digits and signs".to_owned())
    }
}

fn account_id(text: &str) -> Result<String, String> {
    // Up to 128 characters: https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-users/
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '_'));
    if is_plain && text.len() <= 128 {
        Ok(text.to_owned())
    } else {
        Err("write an account's id, as 5b10ac8d82e05b22cc7d4ef5; not a name or a mail address".to_owned())
    }
}

fn one_line(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        Err("write it on one line".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_name_or_an_address_without_a_path() {
        for text in ["acme.atlassian.net", "https://acme.atlassian.net", "https://acme.atlassian.net/"] {
            assert_eq!(site(text).unwrap().as_str(), "https://acme.atlassian.net/");
        }
        for text in ["acme.atlassian.net/jira", "ssh://acme", "https://", "https://me:pw@acme.atlassian.net"]
        {
            assert!(site(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_project_is_named_by_its_key() {
        assert_eq!(project_key("acf"), Ok("ACF".to_owned()));
        assert_eq!(project_key("A_1"), Ok("A_1".to_owned()));
        for text in ["1A", "ACF-12", "My project", ""] {
            assert!(project_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_is_named_by_its_id() {
        for text in ["5b10ac8d82e05b22cc7d4ef5", "712020:aa-bb-cc"] {
            assert_eq!(account_id(text), Ok(text.to_owned()));
        }
        assert!(account_id("ada@acme.example").is_err());
        assert!(email("ada").is_err());
        assert!(email("a:b@acme.example").is_err());
    }
}

//! The original `task-manager`, with its output and exit codes.

use acf_core::tracker::Change;
use acf_worker::config::Need;
use serde::Serialize;

use super::issues::{change_one, claim_next, line_of};
use crate::context::Context;
use crate::error::Exit;
use crate::symlinks::{TaskManagerCommand, TaskManagerVerb};
use crate::ui::Out;

/// An issue in the original's form.
#[derive(Serialize)]
struct Original {
    key: String,
    summary: String,
    description: String,
}

/// Does what `task-manager` was asked to do. `claim` exits 2 when nothing is eligible.
///
/// # Errors
/// When the tracker cannot be used, or does not know the issue.
pub async fn run(command: &TaskManagerCommand, context: &Context, out: &mut Out) -> anyhow::Result<Exit> {
    match &command.verb {
        TaskManagerVerb::Auth => {
            let settings = context.settings(Need::Tracker)?;
            let tracker = context.tracker(&settings).await?;
            let (account, _) = tokio::try_join!(tracker.port.whoami(), tracker.port.list())?;
            out.line(account)?;
            Ok(Exit::Done)
        }
        TaskManagerVerb::List { stage } => {
            let settings = context.settings(Need::Tracker)?;
            let tracker = context.tracker(&settings).await?;
            let mut listed = Vec::new();
            for issue in tracker.port.candidates(*stage).await? {
                if acf_core::eligibility::judge_issue(&issue, *stage, &settings.rules).is_eligible() {
                    let summary = line_of(&tracker, &issue).await?;
                    listed.push(Original { key: issue.key.into(), summary, description: issue.description });
                }
            }
            out.json(&listed)?;
            Ok(Exit::Done)
        }
        TaskManagerVerb::View { key } => {
            let settings = context.settings(Need::Tracker)?;
            let tracker = context.tracker(&settings).await?;
            let issue = tracker.port.issue(&settings.tracker.key(key).into()).await?;
            let summary = line_of(&tracker, &issue).await?;
            out.json(&Original { key: issue.key.into(), summary, description: issue.description })?;
            Ok(Exit::Done)
        }
        TaskManagerVerb::Claim { stage, account } => {
            match claim_next(context, None, *stage, account.as_deref()).await? {
                None => Ok(Exit::NothingToClaim),
                Some((issue, summary)) => {
                    out.json(&Original { key: issue.key.into(), summary, description: issue.description })?;
                    Ok(Exit::Done)
                }
            }
        }
        TaskManagerVerb::Assign { key, account } => {
            let settings = context.settings(Need::Tracker)?;
            let account = match account {
                Some(account) => account.clone(),
                None => context.tracker(&settings).await?.port.whoami().await?,
            };
            change_one(key, Change::Assign(account), context, "assigned").await
        }
        TaskManagerVerb::Comment { key, text } => {
            let change = Change::Comment { marker: None, body: text.clone() };
            change_one(key, change, context, "commented on").await
        }
        TaskManagerVerb::Transition { key, status } => {
            change_one(key, Change::Transition(status.clone()), context, &format!("moved to {status}:")).await
        }
    }
}

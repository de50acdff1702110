//! Claims as refs of the git remote: the port [`ClaimStore`], by compare-and-swap pushes.
//!
//! `PREFIX/claims/KEY` holds a claim, `PREFIX/runs/NAME` the chain of run records, `PREFIX/wip/NAME`
//! work in progress ([`record_name`][acf_core::issue::IssueRef::record_name]),
//! `PREFIX/replaced/KEY/COMMIT` a feature branch that a later run replaced. Claims and records are
//! commits of the empty tree whose message is JSON. A claim commit names its run and generation, so
//! that no two workers ever push the same one: if the ref is at *our* commit, then it was us who put
//! it there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use acf_core::claim::{
    Claim, ClaimError, ClaimState, ClaimStore, Held, Landing, Published, RemoteSays, Survey, Turn, Version,
    Wip,
};
use acf_core::run::{CommitId, RunRecord};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::command::{GitError, is_object_name};
use super::mirror::Mirror;
use super::push::{PushReport, RefFate};

/// The empty tree, which git knows without being told.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// The branches that acf makes for review.
pub const FEATURE_PREFIX: &str = "refs/heads/feature/";

/// Claims, run records and work in progress on a git remote.
#[derive(Debug)]
pub struct GitClaims {
    mirror: Arc<Mirror>,
    prefix: String,
    trunk: String,
    claims: Mutex<HashMap<Version, Claim>>,
    chains: Mutex<HashMap<Version, Vec<RunRecord>>>,
    /// Changes of which nobody knows whether they have happened, by slug.
    unconfirmed: Mutex<HashMap<String, Held>>,
}

/// How often a push is sent that loses a race on the remote without being told to whom.
const RACES: usize = 3;

/// What a push of several refs came to.
enum Pushed {
    Done,
    /// At least one ref was not as expected; nothing of an atomic push has happened.
    Not(PushReport),
    /// Another push was at the same refs at the same time; nothing has happened.
    Raced(PushReport),
}

impl GitClaims {
    /// Makes the store on the mirror's remote, with refs below `prefix` (such as `refs/acf/`).
    #[must_use]
    pub fn new(mirror: Arc<Mirror>, prefix: impl Into<String>, trunk: impl Into<String>) -> Self {
        Self {
            mirror,
            prefix: prefix.into(),
            trunk: trunk.into(),
            claims: Mutex::default(),
            chains: Mutex::default(),
            unconfirmed: Mutex::default(),
        }
    }

    fn claim_ref(&self, slug: &str) -> String {
        format!("{}claims/{slug}", self.prefix)
    }

    fn runs_ref(&self, record_name: &str) -> String {
        format!("{}runs/{record_name}", self.prefix)
    }

    fn wip_ref(&self, record_name: &str) -> String {
        format!("{}wip/{record_name}", self.prefix)
    }

    fn replaced_ref(&self, slug: &str, replaced: &Version) -> String {
        format!("{}replaced/{slug}/{replaced}", self.prefix)
    }

    fn trunk_ref(&self) -> String {
        format!("refs/heads/{}", self.trunk)
    }

    /// Asks the remote where refs are.
    async fn ls_remote(&self, patterns: &[&str]) -> Result<BTreeMap<String, String>, ClaimError> {
        let command = self.mirror.remote_command("ls-remote").args(["--refs", self.mirror.remote().url()]);
        let command = command.args(patterns);
        let output = command
            .run()
            .await
            .map_err(|error| self.mirror.remote().explain("cannot look at the remote's refs", error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(object, _)| is_object_name(object))
            .map(|(object, name)| (name.to_owned(), object.to_owned()))
            .collect())
    }

    /// Writes a commit of the empty tree into the mirror.
    async fn write(
        &self,
        message: &impl Serialize,
        parent: Option<&Version>,
        at: Timestamp,
    ) -> Result<Version, ClaimError> {
        let json =
            serde_json::to_string_pretty(message).map_err(|error| other("cannot write a claim", error))?;
        let parent = parent.map(|parent| format!("parent {parent}\n")).unwrap_or_default();
        let who = format!("acf <acf@localhost> {} +0000", at.as_second());
        let commit = format!("tree {EMPTY_TREE}\n{parent}author {who}\ncommitter {who}\n\n{json}\n");
        let command = self.mirror.local("hash-object").args(["-t", "commit", "-w", "--stdin"]).input(commit);
        command.object().await.map(Version::new).map_err(|error| other("cannot write a claim", error))
    }

    /// Pushes; `expected` are the leases: each ref and the state that it has to be in.
    ///
    /// A push that has raced is sent again: that reads the refs anew, and so finds out which of them
    /// is no longer as expected.
    async fn push(
        &self,
        refspecs: &[String],
        expected: &[(String, Option<&Version>)],
        decisive: (&str, Option<&Version>),
    ) -> Result<Pushed, ClaimError> {
        for _ in 1..RACES {
            match self.push_once(refspecs, expected, decisive).await? {
                Pushed::Raced(_) => {}
                clear => return Ok(clear),
            }
        }
        self.push_once(refspecs, expected, decisive).await
    }

    /// Pushes once.
    ///
    /// `decisive` is the claim's ref and its new state (`None` for deleted): where the push's output
    /// does not tell what happened, where that ref is now does, because the push is atomic.
    async fn push_once(
        &self,
        refspecs: &[String],
        expected: &[(String, Option<&Version>)],
        decisive: (&str, Option<&Version>),
    ) -> Result<Pushed, ClaimError> {
        let leases = expected.iter().map(|(name, state)| {
            format!("--force-with-lease={name}:{}", state.map(Version::as_str).unwrap_or_default())
        });
        let mut command = self.mirror.remote_command("push").args(["--porcelain", "--no-verify"]);
        if refspecs.len() > 1 {
            command = command.arg("--atomic");
        }
        let command = command.args(leases).arg(self.mirror.remote().url()).args(refspecs);
        let attempt = format!("cannot push {}", decisive.0);
        let explain = |error| self.mirror.remote().explain(&attempt, error);
        let report = match command.output().await {
            Ok(output) => PushReport::read(output),
            // Nobody knows whether a push that was cut off has happened.
            Err(error @ GitError::TimedOut { .. }) => {
                PushReport { refs: Vec::new(), ok: false, error: Some(error) }
            }
            Err(error) => return Err(explain(error)),
        };
        if report.ok {
            return Ok(Pushed::Done);
        }
        let is_clear = report
            .refs
            .iter()
            .any(|line| matches!(line.fate, RefFate::Stale | RefFate::Behind | RefFate::Refused));
        if is_clear {
            return Ok(Pushed::Not(report));
        }
        let now = match self.ls_remote(&[decisive.0]).await {
            Ok(now) => now,
            // The first failure says more than the second.
            Err(second) => return Err(report.error.map_or(second, explain)),
        };
        let is_at = now.get(decisive.0).map(String::as_str);
        if is_at == decisive.1.map(Version::as_str) {
            return Ok(Pushed::Done);
        }
        let before = expected.iter().find(|(name, _)| name == decisive.0).and_then(|(_, state)| *state);
        let claim_is_unchanged = is_at == before.map(Version::as_str);
        match (claim_is_unchanged, report.refs.is_empty(), report.error) {
            // It never came to the refs: the network, the credentials, the disk.
            (true, true, Some(error)) => Err(explain(error)),
            (true, _, error) => Ok(Pushed::Raced(PushReport { error, ..report })),
            (false, ..) => Err(ClaimError::Lost),
        }
    }

    /// Pushes a release, on top of the run records that are known of.
    async fn release_once(
        &self,
        held: &Held,
        record: Option<&RunRecord>,
        wip: &Wip,
    ) -> Result<Pushed, ClaimError> {
        let record_name = held.claim.record_name();
        let name = self.claim_ref(held.claim.issue.slug());
        let (runs, wip_ref) = (self.runs_ref(&record_name), self.wip_ref(&record_name));
        let mut refspecs = vec![format!(":{name}")];
        let mut leases = vec![(name.clone(), Some(&held.version))];
        if let Some(record) = record {
            if let Some(tip) = &held.runs {
                // A commit can only be pushed by who has its parents.
                self.read_runs(&BTreeMap::from([(record_name, tip.clone())])).await?;
            }
            let commit = self.write(record, held.runs.as_ref(), record.ended_at).await?;
            refspecs.push(format!("{commit}:{runs}"));
            leases.push((runs, held.runs.as_ref()));
        }
        match (wip, &held.wip) {
            (Wip::Put(commit), _) => refspecs.push(format!("+{commit}:{wip_ref}")),
            (Wip::Drop, Some(_)) => refspecs.push(format!(":{wip_ref}")),
            (Wip::Drop, None) | (Wip::Keep, _) => {}
        }
        self.push(&refspecs, &leases, (&name, None)).await
    }

    /// Says why the claim's own ref did not change.
    fn refusal(&self, report: PushReport, claim_ref: &str) -> ClaimError {
        let refused = report.refs.iter().find(|line| line.fate == RefFate::Refused);
        match (report.fate(claim_ref), refused) {
            (Some(RefFate::Stale | RefFate::Behind), _) => ClaimError::Lost,
            (_, Some(line)) => {
                ClaimError::Refused { what: line.name.clone(), cause: RemoteSays(report.said(line)) }
            }
            (_, None) => match report.error {
                Some(error) => self.mirror.remote().explain(&format!("cannot push {claim_ref}"), error),
                None => ClaimError::Lost,
            },
        }
    }

    fn cached_claims(&self) -> MutexGuard<'_, HashMap<Version, Claim>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached_chains(&self) -> MutexGuard<'_, HashMap<Version, Vec<RunRecord>>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unconfirmed(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the claim as it is now held: if a change was cut off, the remote says whether it has
    /// happened. Else a worker would take its own change for another worker's.
    async fn as_held(&self, held: &Held) -> Result<Held, ClaimError> {
        let slug = held.claim.issue.slug();
        let Some(attempted) = self.unconfirmed().get(slug).cloned() else { return Ok(held.clone()) };
        let name = self.claim_ref(slug);
        let is_at = self.ls_remote(&[&name]).await?.remove(&name);
        self.unconfirmed().remove(slug);
        let has_happened = is_at.as_deref() == Some(attempted.version.as_str());
        Ok(if has_happened { attempted } else { held.clone() })
    }

    /// Reads commit messages, along all parents, out of the mirror.
    async fn messages(&self, tips: &[&Version], follow: bool) -> Result<Vec<Message>, ClaimError> {
        let input = tips.iter().map(|tip| format!("{tip}\n")).collect::<String>();
        let walk = if follow { "--topo-order" } else { "--no-walk" };
        let command = self.mirror.local("log").args([
            walk,
            "--no-show-signature",
            "--no-decorate",
            "--ignore-missing",
            "--stdin",
            "--format=%H%x1f%P%x1f%B%x1e",
        ]);
        let output = command
            .input(input)
            .run()
            .await
            .map_err(|error| other("cannot read claims and run records", error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.split('\u{1e}').filter_map(Message::parse).collect())
    }

    /// Walks a chain back from its tip. The last record of the messages comes first.
    fn chain(tip: &Version, messages: &HashMap<&str, &Message>) -> Vec<RunRecord> {
        let mut records = Vec::new();
        let mut next = Some(tip.as_str());
        while let Some(message) = next.and_then(|id| messages.get(id)) {
            records.extend(message.parse_json());
            next = message.parent.as_deref();
        }
        records.reverse();
        records
    }
}

/// A commit's message, with its place in the chain.
struct Message {
    id: String,
    parent: Option<String>,
    text: String,
}

impl Message {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.trim_start().splitn(3, '\u{1f}');
        let (id, parents, text) = (fields.next()?, fields.next()?, fields.next()?);
        let parent = parents.split(' ').next().filter(|parent| !parent.is_empty()).map(str::to_owned);
        Some(Self { id: id.to_owned(), parent, text: text.to_owned() })
    }

    fn parse_json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(&self.text).ok()
    }
}

fn other(attempt: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClaimError {
    ClaimError::Other { attempt: attempt.to_owned(), cause: cause.into() }
}

/// Returns the refs below `prefix`, by what follows it.
fn below(refs: &BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, Version> {
    refs.iter()
        .filter_map(|(name, object)| Some((name.strip_prefix(prefix)?, object)))
        .map(|(slug, object)| (slug.to_owned(), Version::new(object)))
        .collect()
}

#[async_trait]
impl ClaimStore for GitClaims {
    async fn survey(&self) -> Result<Survey, ClaimError> {
        let everything = format!("{}*", self.prefix);
        let features = format!("{FEATURE_PREFIX}*");
        let refs = self.ls_remote(&[&everything, &self.trunk_ref(), &features]).await?;
        Ok(Survey {
            trunk: refs.get(&self.trunk_ref()).map(CommitId::new),
            claims: below(&refs, &self.claim_ref("")),
            runs: below(&refs, &self.runs_ref("")),
            wips: below(&refs, &self.wip_ref("")),
            features: below(&refs, FEATURE_PREFIX),
        })
    }

    async fn read_claims(
        &self,
        claims: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<Version, Claim>, ClaimError> {
        let mut read = HashMap::new();
        let mut unread = Vec::new();
        for version in claims.values() {
            match self.cached_claims().get(version) {
                Some(claim) => _ = read.insert(version.clone(), claim.clone()),
                None => unread.push(version),
            }
        }
        if !unread.is_empty() {
            let objects: Vec<_> = unread.iter().map(|version| version.as_str()).collect();
            self.mirror.bring(&objects).await?;
            let messages = self.messages(&unread, false).await?;
            read.extend(messages.iter().filter_map(|m| Some((Version::new(&m.id), m.parse_json()?))));
        }
        self.cached_claims().clone_from(&read);
        Ok(read.into_iter().collect())
    }

    async fn read_runs(
        &self,
        chains: &BTreeMap<String, Version>,
    ) -> Result<BTreeMap<String, Vec<RunRecord>>, ClaimError> {
        let mut read = HashMap::new();
        let mut unread = Vec::new();
        for tip in chains.values() {
            match self.cached_chains().get(tip) {
                Some(records) => _ = read.insert(tip.clone(), records.clone()),
                None => unread.push(tip),
            }
        }
        if !unread.is_empty() {
            let objects: Vec<_> = unread.iter().map(|tip| tip.as_str()).collect();
            self.mirror.bring(&objects).await?;
            let messages = self.messages(&unread, true).await?;
            let by_id = messages.iter().map(|message| (message.id.as_str(), message)).collect();
            read.extend(unread.iter().map(|tip| ((*tip).clone(), Self::chain(tip, &by_id))));
        }
        self.cached_chains().clone_from(&read);
        let records = |tip| read.get(tip).cloned().unwrap_or_default();
        Ok(chains.iter().map(|(slug, tip)| (slug.clone(), records(tip))).collect())
    }

    async fn take(&self, claim: Claim, over: Option<&Version>, survey: &Survey) -> Result<Held, ClaimError> {
        let name = self.claim_ref(claim.issue.slug());
        let version = self.write(&claim, None, claim.renewed_at).await?;
        let refspec = format!("{version}:{name}");
        let pushed = self.push(&[refspec], &[(name.clone(), over)], (&name, Some(&version))).await?;
        match pushed {
            Pushed::Done => {
                let record_name = claim.record_name();
                let runs = survey.runs.get(&record_name).cloned();
                let wip = survey.wips.get(&record_name).cloned();
                Ok(Held { version, runs, wip, claim })
            }
            Pushed::Not(report) | Pushed::Raced(report) => Err(self.refusal(report, &name)),
        }
    }

    async fn renew(&self, held: &Held, now: Timestamp, wip: Option<&CommitId>) -> Result<Held, ClaimError> {
        let held = &self.as_held(held).await?;
        let slug = held.claim.issue.slug();
        let name = self.claim_ref(slug);
        let claim = held.claim.renewed(now);
        let version = self.write(&claim, None, now).await?;
        let mut refspecs = vec![format!("{version}:{name}")];
        refspecs.extend(wip.map(|commit| format!("+{commit}:{}", self.wip_ref(&held.claim.record_name()))));
        let leases = [(name.clone(), Some(&held.version))];
        let renewed = Held {
            claim,
            version,
            runs: held.runs.clone(),
            wip: wip.map(|commit| Version::new(commit.as_str())).or_else(|| held.wip.clone()),
        };
        match self.push(&refspecs, &leases, (&name, Some(&renewed.version))).await {
            Ok(Pushed::Done) => Ok(renewed),
            Ok(Pushed::Not(report) | Pushed::Raced(report)) => Err(self.refusal(report, &name)),
            Err(ClaimError::Lost) => Err(ClaimError::Lost),
            Err(error) => {
                self.unconfirmed().insert(slug.to_owned(), renewed);
                Err(error)
            }
        }
    }

    async fn turn(&self) -> Turn {
        self.mirror.turn().await.map_or_else(Turn::default, Turn::while_held)
    }

    async fn publish(&self, held: &Held, next: Claim, landing: &Landing) -> Result<Published, ClaimError> {
        let held = &self.as_held(held).await?;
        if matches!(held.claim.state, ClaimState::Published { .. }) {
            return Ok(Published::Landed(Box::new(held.clone())));
        }
        let name = self.claim_ref(next.issue.slug());
        let branch = format!("refs/heads/{}", landing.branch);
        let version = self.write(&next, None, next.renewed_at).await?;
        let mut leases = vec![(name.clone(), Some(&held.version))];
        // No `+` before the branch: it would override the lease, which alone allows the replacing.
        let mut refspecs = vec![format!("{}:{branch}", landing.commit), format!("{version}:{name}")];
        if let Some(state) = &landing.replaces {
            leases.push((branch.clone(), state.as_ref()));
        }
        if let Some(Some(replaced)) = &landing.replaces {
            // Somebody may have worked on what is being replaced: it stays reachable.
            self.mirror.bring(&[replaced.as_str()]).await?;
            if !self.mirror.contains(&CommitId::new(replaced.as_str())).await {
                return Ok(Published::BranchMoved);
            }
            refspecs.push(format!("+{replaced}:{}", self.replaced_ref(next.issue.slug(), replaced)));
        }
        let published = Held { claim: next, version, runs: held.runs.clone(), wip: held.wip.clone() };
        let report = match self.push(&refspecs, &leases, (&name, Some(&published.version))).await {
            Ok(Pushed::Done) => {
                self.mirror.note_present(&landing.commit);
                return Ok(Published::Landed(Box::new(published)));
            }
            Ok(Pushed::Not(report) | Pushed::Raced(report)) => report,
            Err(ClaimError::Lost) => return Err(ClaimError::Lost),
            Err(error) => {
                self.unconfirmed().insert(published.claim.issue.slug().to_owned(), published);
                return Err(error);
            }
        };
        match (report.fate(&name), report.line(&branch).map(|line| (line.fate, line))) {
            (Some(RefFate::Stale | RefFate::Behind), _) => Err(ClaimError::Lost),
            (_, Some((RefFate::Stale | RefFate::Behind, _))) => Ok(Published::BranchMoved),
            (_, Some((RefFate::Refused, line))) => {
                Ok(Published::BranchRefused(RemoteSays(report.said(line))))
            }
            _ => Err(self.refusal(report, &name)),
        }
    }

    async fn release(&self, held: &Held, record: Option<&RunRecord>, wip: &Wip) -> Result<(), ClaimError> {
        let mut held = self.as_held(held).await?;
        let name = self.claim_ref(held.claim.issue.slug());
        let runs = self.runs_ref(&held.claim.record_name());
        let mut races = 1..RACES;
        loop {
            let report = match self.release_once(&held, record, wip).await? {
                Pushed::Done => return Ok(()),
                Pushed::Not(report) | Pushed::Raced(report) => report,
            };
            let is_stale = |name| report.fate(name) == Some(RefFate::Stale);
            let others_have_recorded = is_stale(&runs) && !is_stale(&name);
            if !others_have_recorded || races.next().is_none() {
                return Err(self.refusal(report, &name));
            }
            // They did since the survey that the claim was taken on; the record goes after theirs.
            held.runs = self.ls_remote(&[&runs]).await?.remove(&runs).map(Version::new);
        }
    }
}

//! What lies in an agent's home before and after its rounds.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use acf_worker::agent::{Access, Claude, Gemini, Renewals, Subscription, settle};
use acf_worker::process::{Guard, Place};

use crate::agent::LIMITS;
use crate::family::Family;

/// An agent's home, and where renewals are kept.
struct Home {
    family: Family,
    kept: PathBuf,
}

impl Home {
    fn new() -> Self {
        let family = Family::new();
        let kept = family.dir().join("kept");
        Self { family, kept }
    }

    async fn settle(&self, name: &str, agent: &dyn acf_core::agent::Agent, renewals: bool) {
        let home = self.path(name);
        fs::create_dir_all(&home).unwrap();
        let guard = Guard::at(env!("CARGO_BIN_EXE_acf-worker"));
        let mut env = Family::env_of(self.family.dir());
        env.retain(|(name, _)| name != "HOME");
        env.push(("HOME".into(), home.clone().into()));
        let place = Place { guard: &guard, dir: &home, env: &env, limits: LIMITS };
        let renewals = renewals.then(|| Renewals::at(self.kept.clone()));
        settle(agent, place, renewals.as_ref()).await.unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.family.dir().join(name)
    }

    fn tokens(&self, name: &str) -> PathBuf {
        self.path(name).join(".claude/.credentials.json")
    }

    /// Returns the access token that lies there.
    fn access(&self, name: &str) -> String {
        let text = fs::read_to_string(self.tokens(name)).unwrap();
        let tokens: serde_json::Value = serde_json::from_str(&text).unwrap();
        tokens["claudeAiOauth"]["accessToken"].as_str().unwrap().to_owned()
    }

    fn put(&self, name: &str, access: &str, expires_at: i64) {
        fs::create_dir_all(self.tokens(name).parent().unwrap()).unwrap();
        let tokens =
            serde_json::json!({ "accessToken": access, "refreshToken": "r", "expiresAt": expires_at });
        let text =
            serde_json::json!({ "claudeAiOauth": tokens, "mcpOAuth": { "hostile": true } }).to_string();
        fs::write(self.tokens(name), text).unwrap();
    }
}

fn claude(access_token: &str) -> Claude {
    let subscription = Subscription {
        access_token: access_token.into(),
        refresh_token: Some("refresh".into()),
        expires_at: Some(1000),
        kind: Some("max".into()),
    };
    Claude::new(Access::default(), Some(subscription))
}

#[tokio::test]
async fn tokens_are_for_their_owner_only_and_what_they_replace_is_kept() {
    let home = Home::new();
    home.settle("new", &claude("given"), false).await;
    assert_eq!(home.access("new"), "given");

    home.put("old", "somebody's own", 1);
    fs::set_permissions(home.tokens("old"), fs::Permissions::from_mode(0o644)).unwrap();
    home.settle("old", &claude("given"), false).await;
    assert_eq!(home.access("old"), "given");
    let aside = home.path("old").join(".claude/.credentials.json.before-acf");
    assert!(fs::read_to_string(&aside).unwrap().contains("somebody's own"));
    for file in [home.tokens("new"), home.tokens("old"), aside] {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn tokens_that_the_agent_has_renewed_reach_the_workers_beside_it_and_after_it() {
    let home = Home::new();
    for name in ["first", "second"] {
        home.settle(name, &claude("given"), true).await;
    }
    home.put("first", "renewed", 2000);
    home.settle("first", &claude("given"), true).await;
    assert_eq!(home.access("first"), "renewed", "it stays where it is");

    for name in ["second", "third"] {
        home.settle(name, &claude("given"), true).await;
        assert_eq!(home.access(name), "renewed", "{name}");
        assert!(
            !fs::read_to_string(home.tokens(name)).unwrap().contains("hostile"),
            "only tokens are shared"
        );
    }
    home.settle("other", &claude("of another account"), true).await;
    assert_eq!(home.access("other"), "of another account");
}

#[tokio::test]
async fn a_login_of_which_nobody_knows_whose_it_is_replaces_none_that_never_ends() {
    let home = Home::new();
    let timeless = || {
        let subscription = Subscription {
            access_token: "given".into(),
            refresh_token: Some("refresh".into()),
            expires_at: None,
            kind: None,
        };
        Claude::new(Access::default(), Some(subscription))
    };
    home.put("own", "somebody's own", 1);
    home.settle("own", &timeless(), false).await;
    assert_eq!(home.access("own"), "given");

    home.put("own", "renewed", 2);
    home.settle("own", &timeless(), false).await;
    assert_eq!(home.access("own"), "renewed", "it comes from the one that was given");

    home.settle("own", &claude("another one"), false).await;
    assert_eq!(home.access("own"), "another one");

    home.put("own", "renewed of the other one", 3000);
    home.settle("own", &claude("given"), false).await;
    assert_eq!(home.access("own"), "given", "what is there comes from another one");

    home.put("newer", "newer than what was given", 2000);
    home.settle("newer", &claude("given"), false).await;
    assert_eq!(home.access("newer"), "newer than what was given");
    home.put("newer", "of no certain age", 0);
    home.settle("newer", &timeless(), false).await;
    assert_eq!(home.access("newer"), "given", "that one was used makes it nobody's");
}

#[tokio::test]
async fn settings_of_a_persons_own_stay() {
    let home = Home::new();
    let access = Access { env: vec![("GEMINI_API_KEY".into(), "k".into())], ..Access::default() };
    let gemini = Gemini::new(access);
    home.settle("new", &gemini, false).await;
    let settings = |name: &str| home.path(name).join(".gemini/settings.json");
    assert!(fs::read_to_string(settings("new")).unwrap().contains("gemini-api-key"));

    fs::create_dir_all(settings("own").parent().unwrap()).unwrap();
    fs::write(settings("own"), "{}").unwrap();
    home.settle("own", &gemini, false).await;
    assert_eq!(fs::read_to_string(settings("own")).unwrap(), "{}");
}

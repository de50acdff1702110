//! Many workers, many deaths: every issue lands once, and every story that is told of it agrees.

use acf_core::issue::Stage;
use acf_core::progress::What;
use acf_tests::chaos::{Backlog, Fleet, Ground, Storm};

use super::{SHORT_TTL, assert_all_is_well};

#[track_caller]
fn survives(ground: &Ground, storm: Storm) {
    let mut fleet = Fleet::on(ground);
    storm.pass_over(&mut fleet);
    assert_all_is_well(ground, &fleet, &format!("{storm:?}"));
}

#[test]
fn thirty_deaths_over_a_hundred_issues_lose_and_double_nothing() {
    let ground = Ground::new(Backlog::of(100)).told(&[SHORT_TTL]);
    survives(&ground, Storm { seed: 1, workers: 8, planners: 1, kills: 30, claims_between: 3 });
}

#[test]
fn thirty_deaths_over_a_hundred_issues_lose_and_double_nothing_over_http() {
    let ground = Ground::over_http(Backlog::of(100)).told(&[SHORT_TTL]);
    survives(&ground, Storm { seed: 2, workers: 8, planners: 1, kills: 30, claims_between: 3 });
}

#[test]
fn deaths_lose_and_double_nothing_where_the_todo_file_is_in_the_repository() {
    let ground = Ground::with_todo_in_repository(Backlog::of(20)).told(&[SHORT_TTL]);
    survives(&ground, Storm { seed: 3, workers: 4, planners: 1, kills: 6, claims_between: 3 });
}

#[test]
fn of_twelve_workers_that_race_for_one_issue_one_lands_it() {
    for _ in 0..2 {
        let ground = Ground::new(Backlog::described(&["@sleep 0.5\n@write f/1.txt Right."]));
        let mut fleet = Fleet::on(&ground);
        for _ in 0..12 {
            fleet.hire(Stage::Implementation, &["--max-issues", "1", "--exit-when-idle"]);
        }
        fleet.await_end();
        let endings = |words: &str| {
            let is_it = |what: &What| matches!(what, What::Stopped { why, .. } if why == words);
            fleet.journal().iter().filter(|event| is_it(&event.what)).count()
        };
        let claimed = |what: &What| matches!(what, What::Claimed { .. });
        assert_eq!(fleet.journal().iter().filter(|event| claimed(&event.what)).count(), 1);
        assert_eq!(endings("worked on as many issues as asked"), 1);
        assert_eq!(endings("nothing to do"), 11);
        assert_all_is_well(&ground, &fleet, "a race");
    }
}

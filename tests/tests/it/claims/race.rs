//! Many contenders, one claim.

use acf_core::claim::{ClaimError, ClaimStore as _, Held, Survey, Wip};
use acf_tests::claims::{Machine, MachineBuilder, claim, on_trunk, outbox};
use acf_tests::git_http::GitHttp;
use acf_tests::sandbox::Sandbox;
use futures_util::future::join_all;

async fn open(builders: Vec<MachineBuilder>) -> Vec<Machine> {
    join_all(builders.into_iter().map(MachineBuilder::open)).await
}

/// Lets everybody race for one issue, and returns the one winner.
async fn race(contenders: &[Machine], round: usize) -> (usize, Held) {
    let key = format!("TODO-{round}");
    let attempts = contenders.iter().enumerate().map(async |(number, contender)| {
        contender.claims.take(claim(&key, &format!("w{round}-{number}")), None, &Survey::default()).await
    });
    let mut winners = Vec::new();
    for (number, attempt) in join_all(attempts).await.into_iter().enumerate() {
        match attempt {
            Ok(held) => winners.push((number, held)),
            Err(ClaimError::Lost) => {}
            Err(error) => panic!("contender {number} of round {round}: {error:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
    winners.remove(0)
}

#[tokio::test]
async fn fifty_contenders_race_and_one_wins_each_round() {
    let sandbox = Sandbox::builder().build();
    // Five machines with ten workers each.
    let builders = (0..50).map(|number| Machine::on(&sandbox, &format!("machine-{}", number % 5))).collect();
    let contenders = open(builders).await;

    for round in 1..=20 {
        let (_, held) = race(&contenders, round).await;
        let name = format!("refs/acf/claims/TODO-{round}");
        assert_eq!(sandbox.tip(&name).as_deref(), Some(held.version.as_str()));
    }
}

#[tokio::test]
async fn contenders_over_http_race_and_one_wins_each_round() {
    let sandbox = Sandbox::builder().build();
    let server = GitHttp::start(sandbox.root(), "worker", "secret");
    let builder = |number: usize| {
        let machine = Machine::on(&sandbox, &format!("machine-{}", number % 3));
        machine.url(server.url("remote.git")).credentials("worker", "secret")
    };
    let contenders = open((0..12).map(builder).collect()).await;

    for round in 1..=3 {
        let (winner, held) = race(&contenders, round).await;
        contenders[winner].claims.release(&held, None, &Wip::Keep).await.unwrap();
    }
    assert_eq!(sandbox.refs("refs/acf/"), Vec::<String>::new());
}

#[tokio::test]
async fn those_who_race_to_take_a_dead_workers_claim_over_have_one_winner() {
    let sandbox = Sandbox::builder().build();
    let contenders =
        open((0..8).map(|number| Machine::on(&sandbox, &format!("machine-{}", number % 2))).collect()).await;
    contenders[0].take("TODO-1", "dead").await.unwrap();

    let attempts = contenders.iter().enumerate();
    let attempts = attempts.map(async |(n, machine)| machine.take_over("TODO-1", &format!("w{n}")).await);
    // One that looks only when another has taken it over already may take it over from that one.
    let won = join_all(attempts).await.into_iter().filter_map(Result::ok).max_by_key(|h| h.claim.generation);

    let tip = sandbox.tip("refs/acf/claims/TODO-1");
    assert_eq!(tip.as_deref(), won.as_ref().map(|held| held.version.as_str()));
}

#[tokio::test]
async fn those_who_race_to_land_on_the_trunk_either_land_or_are_told_that_it_moved() {
    let sandbox = Sandbox::builder().build();
    let machines =
        open((0..6).map(|number| Machine::on(&sandbox, &format!("machine-{number}"))).collect()).await;
    let landings = machines.iter().enumerate().map(async |(number, machine)| {
        let held = machine.take(&format!("TODO-{number}"), &format!("w{number}")).await.unwrap();
        let base = machine.trunk().await;
        let landing = on_trunk(&machine.work(&sandbox, &base, &format!("file-{number}"), "x\n"));
        (machine, held, landing)
    });
    let ready = join_all(landings).await;

    let attempts = ready.iter().map(async |(machine, held, landing)| {
        machine.claims.publish(held, outbox(&held.claim, landing), landing).await.unwrap()
    });
    let landed = join_all(attempts).await;
    let landed = landed.iter().filter(|p| matches!(p, acf_core::claim::Published::Landed(_))).count();

    assert_eq!(landed, 1);
    assert_eq!(sandbox.log().len(), 2);
}

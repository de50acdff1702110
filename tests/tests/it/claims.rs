//! Claims on a real git remote: what one worker writes, every other one reads, and only one holds.

mod cut_off;
mod mirror;
mod probe;
mod publish;
mod race;
mod remote;
mod settle;

use std::collections::BTreeMap;

use acf_core::claim::{ClaimError, ClaimStore as _, Survey, Version, Wip};
use acf_core::run::Outcome;
use acf_tests::claims::{Machine, at, claim, failed, record};
use acf_tests::sandbox::Sandbox;
use acf_worker::git::GitClaims;

fn chains(survey: &Survey) -> BTreeMap<String, Version> {
    survey.runs.clone()
}

async fn survey(claims: &GitClaims) -> Survey {
    claims.survey().await.expect("look at the remote")
}

#[tokio::test]
async fn a_claim_goes_round_from_take_to_release() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let trunk = machine.trunk().await;

    let held = machine.take("TODO-3", "w1").await.unwrap();
    let taken = survey(&machine.claims).await;
    assert_eq!(taken.claims, BTreeMap::from([("TODO-3".into(), held.version.clone())]));
    assert_eq!(taken.trunk, Some(trunk.clone()));

    let wip = machine.work(&sandbox, &trunk, "half", "done\n");
    let held = machine.claims.renew(&held, at(10), Some(&wip)).await.unwrap();
    assert_eq!((held.claim.generation, held.claim.renewed_at), (1, at(10)));
    let renewed = survey(&machine.claims).await;
    assert_eq!(renewed.claims["TODO-3"], held.version);
    assert_eq!(renewed.wips["TODO-3"].as_str(), wip.as_str());

    let ended = failed(&held.claim, "the gate failed");
    machine.claims.release(&held, Some(&ended), &Wip::Keep).await.unwrap();
    let released = survey(&machine.claims).await;
    assert_eq!(released.claims, BTreeMap::new());
    assert_eq!(released.wips["TODO-3"].as_str(), wip.as_str());
    assert_eq!(released.trunk, Some(trunk));
    let runs = machine.claims.read_runs(&chains(&released)).await.unwrap();
    assert_eq!(runs, BTreeMap::from([("TODO-3".into(), vec![ended])]));
}

#[tokio::test]
async fn records_of_several_machines_form_one_chain_the_oldest_first() {
    let sandbox = Sandbox::builder().build();
    let mut expected = Vec::new();
    for name in ["a", "b", "a", "c"] {
        let machine = Machine::on(&sandbox, name).open().await;
        let held = machine.take("TODO-3", &format!("w{}", expected.len())).await.unwrap();
        let ended = failed(&held.claim, &format!("attempt {}", expected.len()));
        machine.claims.release(&held, Some(&ended), &Wip::Keep).await.unwrap();
        expected.push(ended);
    }

    let reader = Machine::on(&sandbox, "reader").open().await;
    let seen = survey(&reader.claims).await;
    let runs = reader.claims.read_runs(&chains(&seen)).await.unwrap();

    assert_eq!(runs["TODO-3"], expected);
    assert_eq!(sandbox.refs("refs/acf/"), ["refs/acf/runs/TODO-3"]);
}

#[tokio::test]
async fn a_record_follows_those_that_others_wrote_since_the_claim_was_decided_on() {
    let sandbox = Sandbox::builder().build();
    let slow = Machine::on(&sandbox, "slow").open().await;
    let quick = Machine::on(&sandbox, "quick").open().await;
    let decided_on = survey(&slow.claims).await;
    let mut expected = Vec::new();
    for worker in ["w1", "w2"] {
        let held = quick.take("TODO-3", worker).await.unwrap();
        let ended = failed(&held.claim, worker);
        quick.claims.release(&held, Some(&ended), &Wip::Keep).await.unwrap();
        expected.push(ended);
    }

    let held = slow.claims.take(claim("TODO-3", "w3"), None, &decided_on).await.unwrap();
    let ended = failed(&held.claim, "w3");
    slow.claims.release(&held, Some(&ended), &Wip::Keep).await.unwrap();
    expected.push(ended);

    let seen = survey(&quick.claims).await;
    assert_eq!(quick.claims.read_runs(&chains(&seen)).await.unwrap()["TODO-3"], expected);
    assert_eq!(seen.claims, BTreeMap::new());
}

#[tokio::test]
async fn readers_of_different_chains_at_the_same_time_each_get_their_own() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    for key in ["TODO-1", "TODO-2"] {
        let held = machine.take(key, "w1").await.unwrap();
        machine.claims.release(&held, Some(&failed(&held.claim, key)), &Wip::Keep).await.unwrap();
    }
    let seen = survey(&machine.claims).await;
    let [one, two] =
        ["TODO-1", "TODO-2"].map(|key| BTreeMap::from([(key.to_owned(), seen.runs[key].clone())]));

    for _ in 0..3 {
        let (first, second) = tokio::join!(machine.claims.read_runs(&one), machine.claims.read_runs(&two));
        assert_eq!(first.unwrap()["TODO-1"].len(), 1);
        assert_eq!(second.unwrap()["TODO-2"].len(), 1);
    }
}

#[tokio::test]
async fn a_release_without_a_record_only_deletes_the_claim() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let held = machine.take("TODO-3", "w1").await.unwrap();

    machine.claims.release(&held, None, &Wip::Keep).await.unwrap();

    assert_eq!(sandbox.refs("refs/"), ["refs/heads/main"]);
}

#[tokio::test]
async fn kept_work_is_put_replaced_and_dropped_with_the_release() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let trunk = machine.trunk().await;
    let wip = "refs/acf/wip/TODO-3";

    for text in ["first\n", "second\n"] {
        let held = machine.take("TODO-3", text.trim()).await.unwrap();
        let kept = machine.work(&sandbox, &trunk, "half", text);
        machine.claims.release(&held, None, &Wip::Put(kept.clone())).await.unwrap();
        assert_eq!(sandbox.tip(wip).as_deref(), Some(kept.as_str()));
    }

    let held = machine.take("TODO-3", "third").await.unwrap();
    assert!(held.wip.is_some());
    machine.claims.release(&held, None, &Wip::Drop).await.unwrap();
    assert_eq!(sandbox.refs("refs/acf/"), Vec::<String>::new());

    let held = machine.take("TODO-3", "fourth").await.unwrap();
    machine.claims.release(&held, None, &Wip::Drop).await.unwrap();
    assert_eq!(sandbox.refs("refs/acf/"), Vec::<String>::new());
}

#[tokio::test]
async fn kept_work_that_a_person_has_deleted_does_not_hold_up_the_release() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let trunk = machine.trunk().await;
    let held = machine.take("TODO-3", "w1").await.unwrap();
    let wip = machine.work(&sandbox, &trunk, "half", "done\n");
    let held = machine.claims.renew(&held, at(10), Some(&wip)).await.unwrap();
    sandbox.git(&["update-ref", "-d", "refs/acf/wip/TODO-3"]);

    machine.claims.release(&held, Some(&failed(&held.claim, "x")), &Wip::Drop).await.unwrap();

    assert_eq!(sandbox.refs("refs/acf/"), ["refs/acf/runs/TODO-3"]);
}

#[tokio::test]
async fn another_machine_reads_what_claims_say() {
    let sandbox = Sandbox::builder().build();
    let holder = Machine::on(&sandbox, "holder").open().await;
    let first = holder.take("TODO-1", "w1").await.unwrap();
    let second = holder.take("#2", "w2").await.unwrap();

    let reader = Machine::on(&sandbox, "reader").open().await;
    let seen = survey(&reader.claims).await;
    let read = reader.claims.read_claims(&seen.claims).await.unwrap();

    assert_eq!(seen.claims.keys().collect::<Vec<_>>(), ["2", "TODO-1"]);
    assert_eq!(read[&first.version], first.claim);
    assert_eq!(read[&second.version], second.claim);
}

#[tokio::test]
async fn a_hostile_summary_is_read_as_it_was_written() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let summary = format!("\"'\n\r\u{1e}\u{1f}\0 $(touch x) 🦀 {}", "x".repeat(64 * 1024));
    let hostile = acf_core::claim::Claim { summary: summary.clone(), ..claim("TODO-3", "w1") };

    let held = machine.claims.take(hostile, None, &Survey::default()).await.unwrap();
    machine.claims.release(&held, Some(&failed(&held.claim, &summary)), &Wip::Keep).await.unwrap();

    let reader = Machine::on(&sandbox, "reader").open().await;
    let seen = survey(&reader.claims).await;
    let runs = reader.claims.read_runs(&chains(&seen)).await.unwrap();
    assert_eq!(runs["TODO-3"], [failed(&held.claim, &summary)]);
    assert_eq!(runs["TODO-3"][0].summary, summary);
}

#[tokio::test]
async fn what_is_no_claim_is_left_out() {
    let sandbox = Sandbox::builder().build();
    let holder = Machine::on(&sandbox, "holder").open().await;
    let held = holder.take("TODO-1", "w1").await.unwrap();
    let put =
        |name: &str, object: &str| sandbox.git(&["update-ref", &format!("refs/acf/claims/{name}"), object]);
    let blob = sandbox.git(&["hash-object", "-w", "HEAD"]);
    let prose = sandbox.git(&["commit-tree", "-m", "no JSON at all", "main^{tree}"]);
    let wrong = sandbox.git(&["commit-tree", "-m", r#"{"issue": "TODO-7"}"#, "main^{tree}"]);
    sandbox.git(&["tag", "-a", "-m", "a tag", "junk", "main"]);
    let tag = sandbox.git(&["rev-parse", "refs/tags/junk"]);
    for (name, object) in [
        ("BLOB-1", blob.as_str()),
        ("TREE-1", &sandbox.git(&["rev-parse", "main^{tree}"])),
        ("PROSE-1", &prose),
        ("WRONG-1", &wrong),
        ("TAG-1", &tag),
        ("MAIN-1", &sandbox.git(&["rev-parse", "main"])),
    ] {
        put(name, object);
    }

    let reader = Machine::on(&sandbox, "reader").open().await;
    let seen = survey(&reader.claims).await;
    let read = reader.claims.read_claims(&seen.claims).await.unwrap();

    assert_eq!(seen.claims.len(), 7, "{:?}", seen.claims);
    assert_eq!(read, BTreeMap::from([(held.version, held.claim)]));
    let only_junk = BTreeMap::from([("BLOB-1".to_owned(), seen.claims["BLOB-1"].clone())]);
    assert_eq!(reader.claims.read_claims(&only_junk).await.unwrap(), BTreeMap::new());
}

#[tokio::test]
async fn records_that_cannot_be_read_are_left_out_of_a_chain() {
    let sandbox = Sandbox::builder().build();
    let machine = Machine::on(&sandbox, "a").open().await;
    let runs = "refs/acf/runs/TODO-3";
    let release = async |worker: &str| {
        let held = machine.take("TODO-3", worker).await.unwrap();
        let ended = failed(&held.claim, worker);
        machine.claims.release(&held, Some(&ended), &Wip::Keep).await.unwrap();
        ended
    };
    let first = release("w1").await;
    let tip = sandbox.tip(runs).unwrap();
    let prose = sandbox.git(&["commit-tree", "-p", &tip, "-m", "a note by hand", "main^{tree}"]);
    sandbox.git(&["update-ref", runs, &prose]);
    let second = release("w2").await;

    let reader = Machine::on(&sandbox, "reader").open().await;
    let seen = survey(&reader.claims).await;
    let read = reader.claims.read_runs(&chains(&seen)).await.unwrap();

    assert_eq!(read["TODO-3"], [first, second]);
}

#[tokio::test]
async fn what_is_gone_since_it_was_seen_is_left_out() {
    let sandbox = Sandbox::builder().build();
    let holder = Machine::on(&sandbox, "holder").open().await;
    let stays = holder.take("TODO-1", "w1").await.unwrap();
    let gone = Version::new("1234567890123456789012345678901234567890");
    let reader = Machine::on(&sandbox, "reader").open().await;

    let claims = BTreeMap::from([("TODO-2".into(), gone.clone()), ("TODO-1".into(), stays.version.clone())]);
    let read = reader.claims.read_claims(&claims).await.unwrap();
    assert_eq!(read, BTreeMap::from([(stays.version, stays.claim)]));

    let only_gone = BTreeMap::from([("TODO-2".to_owned(), gone)]);
    assert_eq!(reader.claims.read_claims(&only_gone).await.unwrap(), BTreeMap::new());
    assert_eq!(reader.claims.read_runs(&only_gone).await.unwrap()["TODO-2"], []);
}

#[tokio::test]
async fn a_claim_that_was_taken_over_is_lost_to_its_holder_in_every_way() {
    let sandbox = Sandbox::builder().build();
    let slow = Machine::on(&sandbox, "slow").open().await;
    let quick = Machine::on(&sandbox, "quick").open().await;
    let old = slow.take("TODO-3", "slow").await.unwrap();

    let over = quick.take_over("TODO-3", "quick").await.unwrap();

    assert_eq!(over.claim.run, old.claim.run);
    let renewed = slow.claims.renew(&old, at(10), None).await;
    assert!(matches!(renewed, Err(ClaimError::Lost)), "{renewed:?}");
    let released = slow.claims.release(&old, Some(&failed(&old.claim, "x")), &Wip::Drop).await;
    assert!(matches!(released, Err(ClaimError::Lost)), "{released:?}");
    let again = slow.take("TODO-3", "another").await;
    assert!(matches!(again, Err(ClaimError::Lost)), "{again:?}");
    assert_eq!(sandbox.tip("refs/acf/claims/TODO-3").as_deref(), Some(over.version.as_str()));
    assert_eq!(sandbox.refs("refs/acf/"), ["refs/acf/claims/TODO-3"]);
}

#[tokio::test]
async fn a_claim_that_was_settled_is_lost_to_its_holder_in_every_way() {
    let sandbox = Sandbox::builder().build();
    let slow = Machine::on(&sandbox, "slow").open().await;
    let quick = Machine::on(&sandbox, "quick").open().await;
    let old = slow.take("TODO-3", "slow").await.unwrap();
    let over = quick.take_over("TODO-3", "quick").await.unwrap();
    let told = record(&over.claim, Outcome::Interrupted);
    quick.claims.release(&over, Some(&told), &Wip::Keep).await.unwrap();

    let renewed = slow.claims.renew(&old, at(10), None).await;
    assert!(matches!(renewed, Err(ClaimError::Lost)), "{renewed:?}");
    let released = slow.claims.release(&old, Some(&failed(&old.claim, "x")), &Wip::Keep).await;
    assert!(matches!(released, Err(ClaimError::Lost)), "{released:?}");
    let released = slow.claims.release(&old, None, &Wip::Keep).await;
    assert!(matches!(released, Err(ClaimError::Lost)), "{released:?}");

    let seen = survey(&quick.claims).await;
    assert_eq!(seen.claims, BTreeMap::new());
    assert_eq!(quick.claims.read_runs(&chains(&seen)).await.unwrap()["TODO-3"], [told]);
}

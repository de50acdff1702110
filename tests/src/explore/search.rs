//! Which schedules are tried: all within bounds, or random ones by seed.

use std::fmt;
use std::time::Duration;

use acf_core::issue::Stage;

use super::schedule::{Cost, Mishap, Move, Offer, Strategy, run};
use super::world::World;
use super::{Act, Conduct, Scenario, TrackerKind, Violation, issue};

/// How much may happen in a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How often a worker goes on though another one could.
    pub preemptions: usize,
    /// How often something goes wrong, or a person acts.
    pub mishaps: usize,
}

/// What was explored without finding anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explored {
    /// How many schedules.
    pub schedules: usize,
}

/// A schedule in which an invariant does not hold.
#[derive(Clone)]
pub struct Counterexample {
    /// What does not hold; the first is what the rest follows from.
    pub violations: Vec<Violation>,
    /// What to explore again to see it.
    pub name: String,
    /// What happened, in order.
    pub trace: Vec<String>,
}

impl fmt::Debug for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "in schedule {}:", self.name)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "{violation:?}"))
    }
}

/// Tries every schedule within the bounds, those with fewer preemptions first.
///
/// # Errors
/// The first [`Counterexample`].
pub fn exhaust(scenario: &Scenario, bounds: Bounds) -> Result<Explored, Box<Counterexample>> {
    let mut explored = Explored { schedules: 0 };
    // Deepening by itself repeats the shallow schedules; they are few beside the deepest.
    for preemptions in 0..=bounds.preemptions {
        explored.schedules = exhaust_at(scenario, Bounds { preemptions, ..bounds })?.schedules;
    }
    Ok(explored)
}

fn exhaust_at(scenario: &Scenario, bounds: Bounds) -> Result<Explored, Box<Counterexample>> {
    let mut schedules = 0;
    let mut next = Some(Vec::new());
    while let Some(choices) = next {
        let mut script = Script::new(choices);
        let world = run(scenario, &mut script, false);
        schedules += 1;
        if !world.violations.is_empty() {
            let choices = script.chosen();
            let name = format!("{choices:?}");
            let world = run(scenario, &mut Script::new(choices), true);
            return Err(counterexample(name, world));
        }
        next = script.next_within(bounds);
    }
    Ok(Explored { schedules })
}

fn counterexample(name: String, world: World) -> Box<Counterexample> {
    let World { violations, trace, .. } = world;
    Box::new(Counterexample { violations, name, trace: trace.unwrap_or_default() })
}

/// Follows choices to their end, then goes straight on; remembers what else could have been chosen.
struct Script {
    choices: Vec<usize>,
    taken: Vec<(usize, Vec<Cost>)>,
}

impl Script {
    fn new(choices: Vec<usize>) -> Self {
        Self { choices, taken: Vec::new() }
    }

    fn chosen(&self) -> Vec<usize> {
        let is_straight = |chosen: &usize| *chosen == 0;
        let mut chosen: Vec<_> = self.taken.iter().map(|(chosen, _)| *chosen).collect();
        while chosen.last().is_some_and(is_straight) {
            chosen.pop();
        }
        chosen
    }

    /// Returns the next choices in order that stay within the bounds.
    fn next_within(&self, bounds: Bounds) -> Option<Vec<usize>> {
        let mut spent = Vec::with_capacity(self.taken.len());
        let mut sum = Bounds { preemptions: 0, mishaps: 0 };
        for (chosen, costs) in &self.taken {
            spent.push(sum);
            sum = sum.plus(costs[*chosen]);
        }
        for (index, (chosen, costs)) in self.taken.iter().enumerate().rev() {
            let is_within = |other: &usize| {
                let sum = spent[index].plus(costs[*other]);
                sum.preemptions <= bounds.preemptions && sum.mishaps <= bounds.mishaps
            };
            if let Some(other) = (chosen + 1..costs.len()).find(is_within) {
                let before = self.taken[..index].iter().map(|(chosen, _)| *chosen);
                return Some(before.chain([other]).collect());
            }
        }
        None
    }
}

impl Bounds {
    fn plus(self, cost: Cost) -> Self {
        Self {
            preemptions: self.preemptions + usize::from(cost == Cost::Preemption),
            mishaps: self.mishaps + usize::from(cost == Cost::Mishap),
        }
    }
}

impl Strategy for Script {
    fn choose(&mut self, offers: &[Offer]) -> usize {
        let chosen = self.choices.get(self.taken.len()).copied().unwrap_or(0);
        self.taken.push((chosen, offers.iter().map(|offer| offer.cost).collect()));
        chosen
    }

    fn wants_all(&self) -> bool {
        false
    }
}

/// Tries the random schedule of each seed, over the scenario that it makes of the seed.
///
/// # Errors
/// The first [`Counterexample`]; its name is the seed.
pub fn wander(
    seeds: std::ops::Range<u64>,
    scenario: impl Fn(u64) -> Scenario,
) -> Result<Explored, Box<Counterexample>> {
    let schedules = usize::try_from(seeds.end - seeds.start).unwrap_or(usize::MAX);
    for seed in seeds {
        let scenario = scenario(seed);
        let world = run(&scenario, &mut Random::new(seed), false);
        if !world.violations.is_empty() {
            let world = run(&scenario, &mut Random::new(seed), true);
            return Err(counterexample(format!("of seed {seed}"), world));
        }
    }
    Ok(Explored { schedules })
}

/// Makes three workers and three issues of a seed: some to be planned first, some for a branch, with
/// agents that fail, people who interfere, and everything that can go wrong.
#[must_use]
pub fn random_scenario(seed: u64) -> Scenario {
    let mut dice = Dice(seed ^ 0x5EED);
    let labels: [&[&str]; 4] = [&[], &[], &["needs-plan"], &["needs-branch"]];
    let issues: Vec<_> = ["ACF-1", "ACF-2", "ACF-3"].map(|key| issue(key, dice.one_of(&labels))).into();
    let keys: Vec<_> = issues.iter().map(|issue| issue.key.clone()).collect();
    let mut conduct = || (0..4).map(|_| dice.one_of(&Conduct::ALL)).collect();
    let conducts = keys.iter().map(|key| (key.clone(), conduct())).collect();
    let acts = (0..dice.below(5)).map(|_| (dice.one_of(&keys), dice.one_of(&Act::ALL))).collect();
    let ttl = Duration::from_secs(10 * 60);
    Scenario {
        issues,
        conducts,
        workers: vec![
            Stage::Implementation,
            Stage::Implementation,
            dice.one_of(&[Stage::Planning, Stage::Implementation]),
        ],
        skew_secs: (0..3).map(|_| dice.one_of(&[-420, 0, 0, 420])).collect(),
        passes: 5,
        idle: dice.one_of(&[Duration::from_secs(60), ttl / 2, ttl]),
        ttl,
        agent_takes: dice.one_of(&[Duration::ZERO, Duration::from_secs(90), ttl / 2]),
        tracker: dice.one_of(&[TrackerKind::File, TrackerKind::Remote]),
        trunk_is_protected: dice.below(8) == 0,
        mishaps: Mishap::ALL.to_vec(),
        acts,
        freezes_in_gap: false,
        flaw: None,
    }
}

/// Chooses at random, but mostly to go straight on.
struct Random {
    dice: Dice,
    mishaps_left: usize,
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mishaps_left = dice.below(8);
        Self { dice, mishaps_left }
    }
}

impl Strategy for Random {
    fn choose(&mut self, offers: &[Offer]) -> usize {
        let is_kind: fn(&Offer) -> bool = match self.dice.below(100) {
            0..=69 => return 0,
            70..=93 => |offer| matches!(offer.what, Move::Step { .. }),
            94..=96 if self.mishaps_left > 0 => |offer| matches!(offer.what, Move::Befalls(..)),
            97..=98 => |offer| matches!(offer.what, Move::PersonActs),
            _ => return 0,
        };
        let of_kind: Vec<_> = (0..offers.len()).filter(|index| is_kind(&offers[*index])).collect();
        if of_kind.is_empty() {
            return 0;
        }
        let chosen = self.dice.one_of(&of_kind);
        if matches!(offers[chosen].what, Move::Befalls(..)) {
            self.mishaps_left -= 1;
        }
        chosen
    }

    fn wants_all(&self) -> bool {
        true
    }
}

/// SplitMix64: the same numbers everywhere and for ever, which no library promises.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

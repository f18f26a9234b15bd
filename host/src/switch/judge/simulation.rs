//! What the judge makes of activations that never were: how often it blames a release that is no worse, and how soon it
//! finds one that is. Chance comes from seeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::case::{Case, Party, Verdict};
use super::evidence::{self, Looks, Sample, fisher};
use crate::proxy::outcomes::{OutcomeTotals, SeriesTotals};
use crate::random::{mix, part};
use crate::spec::auto_back::{AutoBack, Share};

/// Requests a second.
const RATE: u64 = 500;

/// Seconds of the release before.
const BEFORE: u64 = 60;

/// How often the judge looks.
const LOOK: Duration = Duration::from_millis(100);

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 += 1;
        part(mix(self.0))
    }

    /// How many of these happen, each with this probability.
    fn of(&mut self, many: u64, probability: f64) -> u64 {
        if probability <= 0.0 {
            return 0;
        }
        let odds = probability / (1.0 - probability);
        let (mut left, mut k) = (self.next(), 0);
        let mut exactly = (1.0 - probability).powf(many as f64);
        while left > exactly && k < many {
            left -= exactly;
            exactly *= (many - k) as f64 / (k + 1) as f64 * odds;
            k += 1;
        }
        k
    }

    /// So many requests more, of which this share fails, and this share is slow.
    fn serve(&mut self, series: &mut SeriesTotals, many: u64, failing: f64, slow: f64) {
        let (slow, not_quick) = (self.of(many, slow), self.of(many, 0.1));
        series.begun += many;
        series.ended += many;
        series.failed += self.of(many, failing);
        series.times.add(Duration::from_millis(200), slow);
        series.times.add(Duration::from_millis(20), not_quick.min(many - slow));
        series.times.add(Duration::from_millis(10), (many - slow).saturating_sub(not_quick));
    }
}

/// How a vip does: the share that fails and the share that is slow, before and after the switch.
#[derive(Clone, Copy)]
struct Does {
    fails: [f64; 2],
    slow: [f64; 2],
}

impl Does {
    fn fail(before: f64, now: f64) -> Self {
        Self { fails: [before, now], slow: [0.01, 0.01] }
    }
}

/// An activation; the first verdict against the release, or for want of it the first one, and when it came. `others` are vips that the change has nothing to do with.
fn activate(seed: u64, settings: &AutoBack, does: Does, others: &[Does]) -> Option<(Duration, Verdict)> {
    let mut chance = Chance(seed << 32);
    let vips: Vec<(Arc<str>, Does)> =
        [does].iter().chain(others).enumerate().map(|(at, does)| (format!("vip{at}").into(), *does)).collect();
    let party = |(at, (vip, does)): (usize, &(Arc<str>, Does))| {
        let mut before = OutcomeTotals::default();
        (0..BEFORE).for_each(|_| chance.serve(&mut before.all, RATE, does.fails[0], does.slow[0]));
        Party { vip: vip.clone(), settings: settings.clone(), before, pools: Vec::new(), is_control: at > 0 }
    };
    let mut case = Case::new(&vips.iter().enumerate().map(party).collect::<Vec<_>>());
    let mut now: BTreeMap<_, _> = vips.iter().map(|(vip, _)| (vip.clone(), OutcomeTotals::default())).collect();
    let (mut at, mut told) = (Duration::ZERO, None);
    while case.is_open(at) {
        // Later, what comes between two looks would be looked at together anyway.
        let step = if at < Duration::from_secs(20) { LOOK } else { LOOK * 10 };
        at += step;
        for (vip, does) in &vips {
            let many = RATE * u64::try_from(step.as_millis()).unwrap() / 1000;
            let totals = now.get_mut(vip).unwrap();
            // By tenths of seconds: the probabilities of larger numbers are too small for floats.
            for _ in 0..many / 50 {
                chance.serve(&mut totals.all, 50, does.fails[1], does.slow[1]);
            }
        }
        for verdict in case.look(at, &now) {
            if matches!(verdict, Verdict::Worse(_)) {
                return Some((at, verdict));
            }
            told.get_or_insert((at, verdict));
        }
    }
    told
}

#[test]
fn looking_often_spends_no_more_than_the_chance_that_is_allowed() {
    let all = 0.2;
    let is_fooled = |seed: &u64| {
        let mut chance = Chance(seed << 32);
        let mut draw = |times| Sample { bad: (0..times).map(|_| chance.of(50, 0.05)).sum(), of: times * 50 };
        let (before, mut now, mut looks) = (draw(200), Sample::default(), Looks::from(32));
        (0..2000).any(|_| {
            now = now.plus(draw(1));
            looks.due(now.of).is_some_and(|part| fisher(before, now) <= evidence::Chance::of(all * part))
        })
    };
    let fooled = (0..500).filter(is_fooled).count();
    assert!((5..=100).contains(&fooled), "{fooled} of 500");
}

fn is_blamed(told: Option<&(Duration, Verdict)>) -> bool {
    matches!(told, Some((_, Verdict::Worse(_))))
}

#[test]
fn a_release_that_does_as_before_is_not_blamed_in_a_thousand_activations() {
    // Any rise at all would be enough, so that nothing but the test stands between chance and blame.
    let eager = AutoBack { failures: Share(0), ..AutoBack::default() };
    for (settings, rate) in [(AutoBack::default(), 0.01), (AutoBack::default(), 0.05), (eager, 0.01)] {
        for seed in 0..1000 {
            let told = activate(seed, &settings, Does::fail(rate, rate), &[]);
            assert!(told.is_none(), "seed {seed}, {rate}: {told:?}");
        }
    }
}

#[test]
fn a_release_of_which_a_third_fails_is_found_at_once() {
    for seed in 0..200 {
        let told = activate(seed, &AutoBack::default(), Does::fail(0.01, 0.31), &[]);
        let (at, verdict) = told.unwrap_or_else(|| panic!("seed {seed}: not found"));
        assert!(matches!(verdict, Verdict::Worse(_)) && at < Duration::from_secs(3), "seed {seed}: {at:?} {verdict:?}");
    }
}

#[test]
fn what_goes_wrong_later_is_found_as_well() {
    let settings = AutoBack::default();
    let mut chance = Chance(7 << 32);
    let mut before = OutcomeTotals::default();
    (0..BEFORE).for_each(|_| chance.serve(&mut before.all, RATE, 0.01, 0.01));
    let vip: Arc<str> = "shop".into();
    let party = Party { vip: vip.clone(), settings, before, pools: Vec::new(), is_control: false };
    let mut case = Case::new(&[party]);
    let mut now: BTreeMap<_, _> = [(vip.clone(), OutcomeTotals::default())].into();
    let mut found = None;
    for step in 1..4000 {
        let failing = if step > 3000 { 0.2 } else { 0.01 };
        chance.serve(&mut now.get_mut(&vip).unwrap().all, 50, failing, 0.01);
        found = case.look(LOOK * step, &now).pop().map(|_| step);
        if found.is_some() {
            break;
        }
    }
    let found = found.expect("it is found");
    assert!((3001..3070).contains(&found), "{found}");
}

/// A vip that goes to two pools, looked at for so many seconds. `serve` adds a tenth of a second.
fn two_pools(before: [u64; 2], seconds: u32, mut serve: impl FnMut(&mut [SeriesTotals; 2])) -> Vec<Verdict> {
    let pools: Vec<Arc<str>> = vec!["blue".into(), "green".into()];
    let vip: Arc<str> = "shop".into();
    let totals = |series: &[SeriesTotals; 2]| {
        let pools = pools.iter().cloned().zip(series.iter().cloned()).collect();
        OutcomeTotals { all: series[0].plus(&series[1]), pools, ..OutcomeTotals::default() }
    };
    let mut chance = Chance(3 << 32);
    let mut series = [SeriesTotals::default(), SeriesTotals::default()];
    for (series, many) in series.iter_mut().zip(before) {
        (0..many / 50).for_each(|_| chance.serve(series, 50, 0.01, 0.01));
    }
    let (settings, before) = (AutoBack::default(), totals(&series));
    let party = Party { vip: vip.clone(), settings, before, pools: pools.clone(), is_control: false };
    let mut case = Case::new(&[party]);
    let mut series = [SeriesTotals::default(), SeriesTotals::default()];
    let mut verdicts = Vec::new();
    for step in 1..=seconds * 10 {
        serve(&mut series);
        verdicts.extend(case.look(LOOK * step, &[(vip.clone(), totals(&series))].into()));
    }
    verdicts
}

fn say(verdicts: &[Verdict]) -> String {
    let Some(Verdict::Worse(evidence)) = verdicts.first() else { return format!("{verdicts:?}") };
    evidence.to_string()
}

#[test]
fn a_pool_that_comes_into_use_is_measured_by_what_its_clients_had_before() {
    let mut chance = Chance(4 << 32);
    // One in a hundred goes there, and the vip as a whole is hardly worse.
    let verdicts = two_pools([30_000, 0], 60, |[blue, green]| {
        chance.serve(blue, 50, 0.01, 0.01);
        let few = chance.of(50, 0.01);
        chance.serve(green, few, 0.8, 0.01);
    });
    assert!(say(&verdicts).starts_with("vip `shop`, pool `green`: failed "), "{}", say(&verdicts));
}

#[test]
fn where_next_to_nothing_is_known_of_before_only_gross_failure_counts() {
    for (failing, is_found) in [(0.04, false), (0.3, true)] {
        let mut chance = Chance(5 << 32);
        let verdicts = two_pools([0, 0], 60, |[blue, _]| chance.serve(blue, 10, failing, 0.01));
        let expected = "against 5% that are taken where little is known of before; exact binomial test p = ";
        assert_eq!(say(&verdicts).contains(expected), is_found, "{}", say(&verdicts));
    }
}

#[test]
fn requests_that_nobody_answers_are_slow_before_they_end() {
    let verdicts = two_pools([30_000, 0], 5, |[blue, _]| blue.begun += 50);
    let said = say(&verdicts);
    assert!(
        said.starts_with("vip `shop`") && said.contains(": took longer than ") && said.contains("(100%)"),
        "{said}"
    );
}

#[test]
fn an_outage_of_everything_is_not_the_release() {
    let outage = Does::fail(0.01, 0.3);
    for seed in 0..50 {
        let told = activate(seed, &AutoBack::default(), outage, &[Does::fail(0.02, 0.25)]);
        assert!(matches!(told, Some((_, Verdict::Excused(..)))), "seed {seed}: {told:?}");
        let told = activate(seed, &AutoBack::default(), outage, &[Does::fail(0.02, 0.02)]);
        assert!(is_blamed(told.as_ref()), "seed {seed}: {told:?}");
        // They are worse, but not so.
        let told = activate(seed, &AutoBack::default(), outage, &[Does::fail(0.02, 0.06)]);
        assert!(is_blamed(told.as_ref()), "seed {seed}: {told:?}");
    }
}

#[test]
fn slow_answers_are_found_and_a_few_more_of_them_are_not() {
    let slow = |now| Does { fails: [0.01; 2], slow: [0.01, now] };
    for seed in 0..50 {
        let (at, verdict) = activate(seed, &AutoBack::default(), slow(0.5), &[]).expect("it is found");
        assert!(
            is_blamed(Some(&(at, verdict.clone()))) && at < Duration::from_secs(4),
            "seed {seed}: {at:?} {verdict:?}"
        );
        assert!(activate(seed, &AutoBack::default(), slow(0.02), &[]).is_none(), "seed {seed}");
    }
}

/// The table of ARCHITECTURE.md: `cargo test --release -p switchback --lib -- --ignored --nocapture figures_of_the_judge`.
#[test]
#[ignore = "prints figures, and asserts nothing"]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn figures_of_the_judge() {
    println!("| before | now | rise asked for | found | median | 95% |\n|---|---|---|---|---|---|");
    for (before, rise) in [(0.01, 200), (0.05, 200), (0.01, 50)] {
        for worse in [0.0, 0.01, 0.02, 0.05, 0.10, 0.30] {
            let settings = AutoBack { failures: Share(rise), ..AutoBack::default() };
            let does = Does::fail(before, before + worse);
            let mut times: Vec<_> = (0..1000)
                .filter_map(|seed| activate(seed, &settings, does, &[]))
                .map(|(at, _)| at.as_secs_f64())
                .collect();
            times.sort_by(f64::total_cmp);
            let at = |share: f64| {
                times.get((times.len() as f64 * share) as usize).map_or("-".into(), |at| format!("{at:.1} s"))
            };
            let (found, now) = (times.len() as f64 / 10.0, ((before + worse) * 100.0_f64).round());
            println!("| {}% | {now}% | {} | {found}% | {} | {} |", before * 100.0, Share(rise), at(0.5), at(0.95));
        }
    }
}

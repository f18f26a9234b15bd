//! One activation under judgement: what its vips do now beside what they did before.
//!
//! Nothing here knows of releases, switches or clocks: it is told how long the release has served and what has come of its
//! requests, and answers what it makes of that. So it can be tried on a thousand activations that never were.
//!
//! Each vip is one line of evidence for each question (failures, slow answers, falls of its policy), and so is each pool
//! that it goes to where there are several. A line is looked at in two ways: all since the switch, when that has grown by
//! half; and by spells of two seconds, as what goes wrong after five minutes would take two more to be seen in all. Two
//! spells must be worse, one after the other: a member that starts again is over sooner.
//! What may be spent on chance is shared out over lines, ways and looks; their sum is [`FALSE_ALARM`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::evidence::{Chance, Looks, Sample, binomial, fisher};
use super::waiting::Waiting;
use crate::proxy::outcomes::{OutcomeTotals, SeriesTotals, TimeTotals};
use crate::spec::auto_back::{AutoBack, Mode};

/// The chance that a release no worse than the one before is blamed, in the whole time that it is watched.
pub const FALSE_ALARM: f64 = 1e-5;

/// What is also looked at by itself.
const SPELL: Duration = Duration::from_secs(2);

/// Times are counted from then on: whoever has just begun to serve is slow for a moment.
const SLOW_FROM: Duration = Duration::from_secs(2);

/// No time below this is slow, however short all were before: nobody goes back for that.
const SLOW_MIN: Duration = Duration::from_millis(5);

/// How much larger the share of slow answers must be. A change of a few points is for people to weigh.
const SLOW_RISE: f64 = 0.10;

/// How many times as many must be bad, beside the rise that is asked for: from 20% to 22% is no break.
const RATIO: f64 = 1.5;

/// Where next to nothing is known of before, a release is bad that fails more than this: few that work do.
const UNKNOWN_SHARE: f64 = 0.05;

/// Requests that say something of vips that were not changed.
const CONTROLS_MIN: u64 = 16;

/// So many are waited for.
const CONTROLS_WANTED: u64 = 100;

/// For how long.
const CONTROLS_PATIENCE: Duration = Duration::from_secs(1);

/// The chance at which vips that were not changed count as worse, too. Freely: it is what speaks for the release.
const CONTROLS_CHANCE: f64 = 0.01;

/// One vip, as it comes before the judge.
pub struct Party {
    /// Its name.
    pub vip: Arc<str>,
    /// How it is watched.
    pub settings: AutoBack,
    /// What came of its requests under the release before.
    pub before: OutcomeTotals,
    /// The pools that it goes to now.
    pub pools: Vec<Arc<str>>,
    /// Whether the change had nothing to do with it: then it shows how things stand anyway.
    pub is_control: bool,
}

/// What all vips of the release have come to, by name.
pub type Now = BTreeMap<Arc<str>, OutcomeTotals>;

/// An activation under judgement.
pub struct Case {
    lines: Vec<Line>,
    controls: Vec<Line>,
    spell_ends: Duration,
    false_alarm: f64,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// How many fail.
    Failures,
    /// How many are slow.
    Slow,
    /// How often the policy fails.
    Falls,
}

/// What came out. Told once for each line.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It is worse, and it is the release.
    Worse(Evidence),
    /// It is worse, and so are vips that the change has nothing to do with.
    Excused(Evidence, Rise),
}

/// Why something is worse.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The vip.
    pub vip: Arc<str>,
    /// The pool, where it is one of several.
    pub pool: Option<Arc<str>>,
    /// What is to be done.
    pub mode: Mode,
    question: Question,
    /// What is slow.
    longer_than: Option<Duration>,
    rise: Rise,
    chance: Chance,
}

/// More bad ones than before; none is known of before where there were too few.
#[derive(Clone, Copy, Debug)]
pub struct Rise {
    before: Option<Sample>,
    now: Sample,
}

struct Line {
    vip: Arc<str>,
    pool: Option<Arc<str>>,
    question: Question,
    settings: AutoBack,
    /// The last bucket that is not slow.
    bucket: usize,
    before: Sample,
    /// What it had come to when it began to count.
    from: Option<Sample>,
    /// What it had come to when the spell began.
    spell_from: Sample,
    /// What it came to at last.
    now: Sample,
    looks: Looks,
    /// Whether the last spell was worse.
    was_worse: bool,
    waiting: Waiting,
    alarm: Option<Alarm>,
    is_told: bool,
    is_excused: bool,
}

/// Something is worse, and vips that were not changed are waited for.
struct Alarm {
    at: Duration,
    evidence: Evidence,
    controls_from: Sample,
}

impl Case {
    /// A case of these vips.
    pub fn new(parties: &[Party]) -> Self {
        let lines = |controls: bool| {
            let parties = parties.iter().filter(move |party| party.is_control == controls);
            parties.flat_map(Line::of).collect::<Vec<_>>()
        };
        let is_watched = |line: &Line| line.settings.mode != Mode::Off;
        let lines = (lines(false).into_iter().filter(is_watched).collect(), lines(true));
        Self { lines: lines.0, controls: lines.1, spell_ends: SPELL, false_alarm: FALSE_ALARM }
    }

    /// Whether there is anything left to be told, after so long.
    pub fn is_open(&self, at: Duration) -> bool {
        self.lines.iter().any(|line| at < line.settings.watch)
    }

    /// Looks at what has come of requests since the switch.
    pub fn look(&mut self, at: Duration, now: &Now) -> Vec<Verdict> {
        for line in self.lines.iter_mut().chain(&mut self.controls) {
            line.read(at, now);
        }
        let spell_ends = at >= self.spell_ends;
        let shared = self.false_alarm / 2.0 / self.lines.len().max(1) as f64;
        let Self { lines, controls, .. } = self;
        let controls_from = |question, of: fn(&Line) -> Sample| together(controls, question, of);
        for line in lines.iter_mut().filter(|line| at < line.settings.watch && line.alarm.is_none() && !line.is_told) {
            let all = line.all();
            let spells = (line.settings.watch.as_secs_f64() / SPELL.as_secs_f64()).max(1.0);
            let look = line.looks.due(all.of).and_then(|part| line.worse(all, shared * part));
            let mut alarm = look.map(|evidence| (evidence, controls_from(line.question, Line::start)));
            if alarm.is_none() && spell_ends {
                let spell = line.spell().filter(|spell| spell.of >= line.settings.samples_min.into());
                let worse = spell.and_then(|spell| line.worse(spell, shared / spells));
                let was_worse = std::mem::replace(&mut line.was_worse, worse.is_some());
                let worse = worse.filter(|_| was_worse);
                alarm = worse.map(|evidence| (evidence, controls_from(line.question, |line| line.spell_from)));
            }
            line.alarm = alarm.map(|(evidence, controls_from)| Alarm { at, evidence, controls_from });
        }
        if spell_ends {
            self.spell_ends = at + SPELL;
            self.lines.iter_mut().chain(&mut self.controls).for_each(|line| line.spell_from = line.now);
        }
        self.verdicts(at)
    }

    /// Of those that are worse: whether it is the release.
    fn verdicts(&mut self, at: Duration) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for line in &mut self.lines {
            let Some(Alarm { at: since, evidence, controls_from }) = &line.alarm else { continue };
            let before = together(&self.controls, line.question, |line| line.before);
            let now = together(&self.controls, line.question, |line| line.now).since(*controls_from);
            let may_speak = before.of >= CONTROLS_MIN;
            if may_speak && now.of < CONTROLS_WANTED && at < *since + CONTROLS_PATIENCE {
                continue;
            }
            let theirs = Rise { before: Some(before), now };
            // A third as much, as what goes wrong hits not all alike, and few have been seen.
            let is_alike = may_speak
                && now.of >= CONTROLS_MIN
                && theirs.points() >= evidence.rise.points() / 3.0
                && fisher(before, now) <= Chance::of(CONTROLS_CHANCE);
            if !is_alike {
                verdicts.push(Verdict::Worse(evidence.clone()));
                line.is_told = true;
            } else if !line.is_excused {
                verdicts.push(Verdict::Excused(evidence.clone(), theirs));
                line.is_excused = true;
            }
            line.alarm = None;
        }
        verdicts
    }
}

fn together(controls: &[Line], question: Question, of: fn(&Line) -> Sample) -> Sample {
    let alike = controls.iter().filter(|line| line.question == question && line.pool.is_none());
    alike.map(of).fold(Sample::default(), Sample::plus)
}

impl Line {
    /// The lines of a vip.
    fn of(party: &Party) -> Vec<Self> {
        let Party { vip, settings, .. } = party;
        let line = |pool: Option<&Arc<str>>, question, before: Option<&SeriesTotals>| {
            let mut line = Self {
                vip: vip.clone(),
                pool: pool.cloned(),
                question,
                settings: settings.clone(),
                bucket: 0,
                before: Sample::default(),
                from: None,
                spell_from: Sample::default(),
                now: Sample::default(),
                looks: Looks::from(settings.samples_min),
                was_worse: false,
                waiting: Waiting::default(),
                alarm: None,
                is_told: false,
                is_excused: false,
            };
            if let Some(before) = before {
                line.bucket = slow_from(&before.times, settings.slow_factor);
                line.before = line.sample(before, party.before.falls, 0);
            }
            line
        };
        let min = u64::from(settings.samples_min);
        // A pool that comes into use is measured by what its clients had before.
        let of_pool = |pool: &Arc<str>| {
            let known = party.before.pools.iter().find(|(name, _)| name == pool).map(|(_, before)| before);
            known.filter(|before| before.ended >= min).unwrap_or(&party.before.all)
        };
        let pools: Vec<_> = party.pools.iter().filter(|_| party.pools.len() > 1).collect();
        let all = Some(&party.before.all);
        let mut lines = vec![line(None, Question::Failures, all), line(None, Question::Falls, all)];
        lines.extend(pools.iter().map(|pool| line(Some(pool), Question::Failures, Some(of_pool(pool)))));
        if settings.slow_factor > 0 {
            lines.push(line(None, Question::Slow, all));
            lines.extend(pools.iter().map(|pool| line(Some(pool), Question::Slow, Some(of_pool(pool)))));
        }
        lines
    }

    fn read(&mut self, at: Duration, now: &Now) {
        let Some(totals) = now.get(&self.vip) else { return };
        let series = match &self.pool {
            None => Some(&totals.all),
            Some(pool) => totals.pools.iter().find(|(name, _)| name == pool).map(|(_, series)| series),
        };
        let Some(series) = series else { return };
        let mut waiting = 0;
        if self.question == Question::Slow {
            let longest = TimeTotals::longest_in(self.bucket).unwrap_or(Duration::MAX);
            waiting = self.waiting.longer_than(longest, at, series);
        }
        self.now = self.sample(series, totals.falls, waiting);
        let from = if self.question == Question::Slow { SLOW_FROM } else { Duration::ZERO };
        if self.from.is_none() && at >= from {
            // What failed at once counts as well.
            self.from = Some(if from.is_zero() { Sample::default() } else { self.now });
        }
    }

    /// What the question is about. Who waits for an answer for longer than is slow, is slow, whatever comes.
    fn sample(&self, series: &SeriesTotals, falls: u64, waiting: u64) -> Sample {
        match self.question {
            Question::Failures => Sample { bad: series.failed.min(series.ended), of: series.ended },
            Question::Slow => {
                Sample { bad: series.times.above(self.bucket) + waiting, of: series.times.count() + waiting }
            }
            Question::Falls => Sample { bad: falls.min(series.begun), of: series.begun },
        }
    }

    fn start(&self) -> Sample {
        self.from.unwrap_or_default()
    }

    /// All since it counts.
    fn all(&self) -> Sample {
        self.from.map_or_else(Sample::default, |from| self.now.since(from))
    }

    /// What came since the spell began, if that counts.
    fn spell(&self) -> Option<Sample> {
        self.from.filter(|from| self.spell_from.of >= from.of)?;
        Some(self.now.since(self.spell_from))
    }

    /// Whether this is worse than before, with so little chance that it only looks so.
    fn worse(&self, now: Sample, chance_max: f64) -> Option<Evidence> {
        let known = Some(self.before).filter(|before| before.of >= self.settings.samples_min.into());
        // Nothing is slow by itself.
        if known.is_none() && self.question == Question::Slow {
            return None;
        }
        let rise = Rise { before: known, now };
        let wanted = if self.question == Question::Slow { SLOW_RISE } else { self.settings.failures.of_one() };
        if rise.points() < wanted || now.share() < rise.share_before() * RATIO {
            return None;
        }
        let chance = known.map_or_else(|| binomial(UNKNOWN_SHARE, now), |before| fisher(before, now));
        if chance > Chance::of(chance_max) {
            return None;
        }
        let longer_than = TimeTotals::longest_in(self.bucket).filter(|_| self.question == Question::Slow);
        let (vip, pool, mode, question) = (self.vip.clone(), self.pool.clone(), self.settings.mode, self.question);
        Some(Evidence { vip, pool, mode, question, longer_than, rise, chance })
    }
}

/// The last bucket that is not slow: that of the 95th percentile of before, times the factor, rounded up.
fn slow_from(before: &TimeTotals, factor: u32) -> usize {
    let nearly_all = before.bucket_at(0.95).and_then(TimeTotals::longest_in).unwrap_or(SLOW_MIN);
    TimeTotals::bucket_of((nearly_all * factor).max(SLOW_MIN))
}

impl Rise {
    /// How much larger the share is, of one.
    fn points(&self) -> f64 {
        self.now.share() - self.share_before()
    }

    fn share_before(&self) -> f64 {
        self.before.map_or(UNKNOWN_SHARE, Sample::share)
    }
}

impl fmt::Display for Rise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share * 1000.0).round() / 10.0;
        let Sample { bad, of } = self.now;
        write!(f, "{bad} of {of} ({}%) against ", percent(self.now.share()))?;
        match self.before {
            Some(before) => write!(f, "{} of {} before ({}%)", before.bad, before.of, percent(before.share())),
            None => write!(f, "{}% that are taken where little is known of before", percent(UNKNOWN_SHARE)),
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vip, pool, question, longer_than, rise, chance, .. } = self;
        write!(f, "vip `{vip}`")?;
        if let Some(pool) = pool {
            write!(f, ", pool `{pool}`")?;
        }
        match (question, longer_than) {
            (Question::Failures, _) => write!(f, ": failed {rise}")?,
            (Question::Slow, longest) => {
                let longest = longest.unwrap_or_default();
                let longest = Duration::from_micros(u64::try_from(longest.as_micros()).unwrap_or(0));
                write!(f, ": took longer than {} {rise}", humantime::format_duration(longest))?;
            }
            (Question::Falls, _) => write!(f, ": the policy failed {rise}")?,
        }
        let test = if rise.before.is_some() { "Fisher's exact test" } else { "exact binomial test" };
        write!(f, "; {test} p = {chance}")
    }
}

//! A row of the table: the same work done in several ways, and what is wanted of ours.
//!
//! The ways are measured in turn (A B C, A B C, …), so that what else the machine does falls on all
//! of them alike. The first round of each row warms caches and is thrown away.

use super::lab::Lab;
use super::stats::{self, Summary};
use anyhow::{Context, Result};
use serde::Serialize;

/// The most memory that any process of ours may take.
pub const PEAK_LIMIT_KIB: u64 = 150 << 10;

/// One way to do the work.
pub struct Side<'a> {
    /// Who, for people.
    pub name: String,
    /// The command line as it is run, shortened.
    pub how: String,
    /// Whether this is stampo.
    pub ours: bool,
    /// Does it once, in a round, and says how many milliseconds the work took. What it prepares and
    /// clears away is not counted.
    pub run: Box<dyn FnMut(usize) -> Result<f64> + 'a>,
}

/// One row.
pub struct Row<'a> {
    /// Its name, for `--only`.
    pub id: &'static str,
    /// The work, for people.
    pub work: String,
    /// The ways.
    pub sides: Vec<Side<'a>>,
    /// What is wanted.
    pub goals: Vec<Goal>,
    /// How often each way is measured.
    pub rounds: usize,
    /// What a reader should know.
    pub note: String,
}

/// What is wanted of one of our sides, by numbers of `sides`.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// Ours.
    pub ours: usize,
    /// What it is compared with.
    pub beside: usize,
    /// How it should compare.
    pub wanted: Wanted,
}

/// How ours should compare.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Wanted {
    /// Ours takes at most so many times theirs.
    AtMostTimes(f64),
    /// Theirs takes at least so many times ours.
    FasterBy(f64),
    /// Ours takes at most so many milliseconds more.
    AtMostMore(f64),
    /// Ours takes at most so many milliseconds, whatever theirs takes.
    AtMost(f64),
}

/// One way, measured.
#[derive(Debug, Clone, Serialize)]
pub struct Timed {
    /// Who.
    pub name: String,
    /// The command line.
    pub how: String,
    /// Median and spread, milliseconds.
    pub summary: Summary,
    /// Every round, milliseconds, in order.
    pub rounds_ms: Vec<f64>,
    /// Ours only: the largest process, KiB.
    pub peak_kib: Option<u64>,
}

/// A goal, judged.
#[derive(Debug, Clone, Serialize)]
pub struct Judged {
    /// Ours, a number of `sides`.
    pub ours: usize,
    /// What it is compared with.
    pub beside: usize,
    /// The comparison for people.
    pub found: String,
    /// What was wanted, for people.
    pub wanted: String,
    /// How much better than wanted, as a factor: from 1 on the goal is reached.
    pub margin: f64,
}

/// A row, measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Its name.
    pub id: String,
    /// The work.
    pub work: String,
    /// The ways.
    pub sides: Vec<Timed>,
    /// The goals.
    pub goals: Vec<Judged>,
    /// What a reader should know.
    pub note: String,
}

impl Judged {
    /// Whether the goal is reached.
    pub fn is_reached(&self) -> bool {
        self.margin >= 1.0
    }
}

impl Wanted {
    /// What was found, what was wanted, and the margin, from the medians in milliseconds.
    pub fn judge(self, ours: f64, theirs: f64) -> (String, String, f64) {
        match self {
            Wanted::AtMostTimes(limit) => {
                let found = ours / theirs;
                let wanted = format!("≤ {limit}× its time");
                (stats::ratio(found), wanted, limit / found)
            }
            Wanted::FasterBy(limit) => {
                let found = theirs / ours;
                let shown = format!("{} faster", stats::ratio(found));
                (shown, format!("≥ {limit}× faster"), found / limit)
            }
            Wanted::AtMostMore(limit) => {
                let more = ours - theirs;
                let sign = if more < 0.0 { "−" } else { "+" };
                let shown = format!("{sign}{}", stats::duration(more.abs()));
                let wanted = format!("≤ {} more", stats::duration(limit));
                (shown, wanted, (theirs + limit) / ours)
            }
            Wanted::AtMost(limit) => {
                let wanted = format!("≤ {}", stats::duration(limit));
                (stats::duration(ours), wanted, limit / ours)
            }
        }
    }
}

impl Row<'_> {
    /// Measures every way in turn.
    pub fn measure(mut self, lab: &Lab, rounds: Option<usize>) -> Result<Measured> {
        let rounds = rounds.unwrap_or(self.rounds).max(1);
        let mut times = vec![Vec::new(); self.sides.len()];
        for round in 0..=rounds {
            for (side, times) in self.sides.iter_mut().zip(&mut times) {
                let ms = (side.run)(round)
                    .with_context(|| format!("{}, round {round}: {}", self.id, side.name))?;
                eprintln!(
                    "{} {round}/{rounds} {}: {}",
                    self.id,
                    side.name,
                    stats::duration(ms)
                );
                if round > 0 {
                    times.push(ms);
                }
            }
        }
        let mut sides = Vec::new();
        for (mut side, rounds_ms) in self.sides.into_iter().zip(times) {
            let peak_kib = match side.ours {
                true => lab.peak_during(|| (side.run)(rounds + 1).map(drop))?,
                false => None,
            };
            sides.push(Timed {
                name: side.name,
                how: side.how,
                summary: stats::summary(&rounds_ms).context("no rounds")?,
                rounds_ms,
                peak_kib,
            });
        }
        let goals = self.goals.iter().map(|goal| judge(goal, &sides)).collect();
        Ok(Measured {
            id: self.id.to_owned(),
            work: self.work,
            sides,
            goals,
            note: self.note,
        })
    }
}

fn judge(goal: &Goal, sides: &[Timed]) -> Judged {
    let (ours, theirs) = (&sides[goal.ours], &sides[goal.beside]);
    let (found, wanted, margin) = goal
        .wanted
        .judge(ours.summary.median, theirs.summary.median);
    Judged {
        ours: goal.ours,
        beside: goal.beside,
        found,
        wanted,
        margin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_by_their_own_rule() {
        let reached = |wanted: Wanted, ours, theirs| wanted.judge(ours, theirs).2 >= 1.0;
        assert!(reached(Wanted::AtMostTimes(4.0), 40.0, 10.0));
        assert!(!reached(Wanted::AtMostTimes(4.0), 41.0, 10.0));
        assert!(reached(Wanted::FasterBy(4.0), 10.0, 40.0));
        assert!(!reached(Wanted::FasterBy(4.0), 10.0, 39.0));
        assert!(reached(Wanted::AtMostMore(20.0), 25.0, 5.0));
        assert!(!reached(Wanted::AtMostMore(20.0), 26.0, 5.0));
        assert!(reached(Wanted::AtMost(10.0), 10.0, 1.0));
        assert!(!reached(Wanted::AtMost(10.0), 11.0, 99.0));
    }

    #[test]
    fn a_judgement_says_what_was_found_and_wanted() {
        let (found, wanted, margin) = Wanted::FasterBy(4.0).judge(10.0, 80.0);
        assert_eq!(
            (found.as_str(), wanted.as_str()),
            ("8.00× faster", "≥ 4× faster")
        );
        assert!((margin - 2.0).abs() < 1e-9);
        let (found, _, _) = Wanted::AtMostMore(20.0).judge(4.0, 5.5);
        assert_eq!(found, "−1.50 ms");
    }
}

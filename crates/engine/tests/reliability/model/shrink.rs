//! Programs for several processes as a value that proptest makes and shrinks.
//!
//! proptest shrinks a list one element at a time, which for thousands of steps, each try of which
//! takes seconds, never ends. Here whole stretches go first, halves before quarters ("delta
//! debugging", Zeller and Hildebrandt 2002); in turn stretches of time, in which all processes lose
//! their steps, and stretches of one process.

use super::step::{Step, any_step};
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What each process is to do.
pub type Programs = Vec<Vec<Step>>;

/// How many steps of each process had begun when it failed: the others are tried without first.
pub type Begun = Rc<RefCell<Option<Vec<usize>>>>;

/// Makes programs of `steps` steps for `processes` processes.
#[derive(Debug, Clone)]
pub struct AnyPrograms {
    /// How many processes.
    pub processes: usize,
    /// How many steps each.
    pub steps: usize,
    /// Told by whoever runs the programs.
    pub begun: Begun,
}

impl Strategy for AnyPrograms {
    type Tree = Smaller;
    type Value = Programs;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let step = any_step();
        let mut programs = Vec::with_capacity(self.processes);
        for _ in 0..self.processes {
            let mut program = Vec::with_capacity(self.steps);
            for _ in 0..self.steps {
                program.push(step.new_tree(runner)?.current());
            }
            programs.push(program);
        }
        Ok(Smaller::of(&programs, self.begun.clone()))
    }
}

/// A step and where it belongs.
#[derive(Debug, Clone)]
struct Placed {
    process: usize,
    index: usize,
    step: Step,
}

/// Programs that get smaller: what is kept, and what of it is left out on trial.
#[derive(Debug, Clone)]
pub struct Smaller {
    processes: usize,
    kept: Vec<Placed>,
    /// The length of the stretches that are tried now.
    length: usize,
    /// The positions that are left out now.
    without: BTreeSet<usize>,
    /// Where the next stretch begins if they are needed.
    next: usize,
    begun: Begun,
    /// Whether stretches are of one process, and not of time.
    by_process: bool,
}

impl Smaller {
    /// These programs, whole.
    pub fn of(programs: &Programs, begun: Begun) -> Smaller {
        let placed = |(process, program): (usize, &Vec<Step>)| {
            let steps = program.iter().cloned().enumerate();
            let place = |(index, step)| Placed {
                process,
                index,
                step,
            };
            steps.map(place).collect::<Vec<_>>()
        };
        let mut smaller = Smaller {
            processes: programs.len(),
            kept: programs.iter().enumerate().flat_map(placed).collect(),
            length: 0,
            without: BTreeSet::new(),
            next: 0,
            begun,
            by_process: false,
        };
        smaller.length = smaller.kept.len().div_ceil(2);
        smaller.sort();
        smaller
    }

    fn sort(&mut self) {
        if self.by_process {
            self.kept
                .sort_by_key(|placed| (placed.process, placed.index));
        } else {
            self.kept
                .sort_by_key(|placed| (placed.index, placed.process));
        }
    }

    /// Leaves out the stretch that begins at `start`, or goes on with shorter ones.
    fn try_from(&mut self, start: usize) -> bool {
        self.without.clear();
        if start < self.kept.len() {
            self.next = (start + self.length).min(self.kept.len());
            self.without.extend(start..self.next);
            return true;
        }
        if self.kept.is_empty() || (self.by_process && self.length <= 1) {
            return false;
        }
        if self.by_process {
            self.length = self.length.div_ceil(2);
        }
        self.by_process = !self.by_process;
        self.sort();
        self.try_from(0)
    }

    /// Leaves out what had not begun when the last run failed. Whether there is such.
    fn try_begun(&mut self) -> bool {
        let Some(begun) = self.begun.take() else {
            return false;
        };
        let mut counts = vec![0; self.processes];
        let mut places: Vec<(usize, &Placed)> = self.kept.iter().enumerate().collect();
        places.sort_by_key(|(_, placed)| placed.index);
        for (at, placed) in places {
            counts[placed.process] += 1;
            if counts[placed.process] > begun[placed.process] {
                self.without.insert(at);
            }
        }
        self.next = 0;
        !self.without.is_empty()
    }
}

impl ValueTree for Smaller {
    type Value = Programs;

    fn current(&self) -> Programs {
        let mut programs = vec![Vec::new(); self.processes];
        let kept = self.kept.iter().enumerate();
        let kept = kept.filter(|(at, _)| !self.without.contains(at));
        let mut kept: Vec<&Placed> = kept.map(|(_, placed)| placed).collect();
        kept.sort_by_key(|placed| placed.index);
        for placed in kept {
            programs[placed.process].push(placed.step.clone());
        }
        programs
    }

    /// What is left out now is not needed: it goes, and what comes after it is tried.
    fn simplify(&mut self) -> bool {
        let start = self.without.first().copied().unwrap_or(0);
        let without = std::mem::take(&mut self.without);
        let mut at = 0..;
        self.kept
            .retain(|_| at.next().is_some_and(|at| !without.contains(&at)));
        self.try_begun() || self.try_from(start)
    }

    /// What is left out now is needed: it comes back, and what comes after it is tried.
    fn complicate(&mut self) -> bool {
        self.try_from(self.next)
    }
}

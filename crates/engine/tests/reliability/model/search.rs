//! Whether a history of overlapping operations can be explained by some order of their moments.
//!
//! This is the search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the
//! memory of Lowe ("Testing for linearizability", 2017), for operations that have more than one
//! moment: an operation here is a *script* of moments (it claims, it commits, it lets go), which
//! come in this order, all between its question and its answer. The crates that check
//! linearizability (`todc-utils`, `stateright`, `porcupine-rs`) know operations with one moment
//! only. A process asks its next question after the last answer, so how far a search is, is a
//! number for each process.
//!
//! Where the order of some moments is known, they have *turns*: such a moment comes when all with
//! lower turns have been. That makes the search harder to please, and fast.
//!
//! It knows nothing of guests and versions: those are the model's.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

/// What a moment does to a state.
pub enum Effect<S> {
    /// It looks only.
    Same,
    /// It leads to this state.
    Next(S),
}

/// A state, and what its moments do.
pub trait Model: Clone + Hash {
    /// What can happen at one moment.
    type Moment;

    /// The effect of a moment; `None` when it can't be now.
    fn apply(&self, moment: &Self::Moment) -> Option<Effect<Self>>;

    /// Whether it may matter which of these comes first. Saying so too often only costs time.
    fn is_rival(&self, changing: &Self::Moment, other: &Self::Moment) -> bool;
}

/// One operation of a process.
pub struct Operation<M> {
    /// When it was asked.
    pub asked: u64,
    /// When it was answered.
    pub answered: u64,
    /// Its moments, in order.
    pub script: Vec<Timed<M>>,
}

/// A moment and, if it is known, its place among all moments whose place is known, from 0.
pub struct Timed<M> {
    /// The moment.
    pub moment: M,
    /// Its place.
    pub turn: Option<usize>,
}

/// What became of a search.
pub enum Verdict<S> {
    /// There is such an order; it ends in this state.
    Explained(S),
    /// There is none.
    Unexplained(Stuck<S>),
    /// So many states were looked at that the search was given up.
    Undecided(Stuck<S>),
}

/// How far a search came at best.
pub struct Stuck<S> {
    /// The number of finished operations and of moments of the next one, for each process.
    pub at: Vec<(usize, usize)>,
    /// The state there.
    pub state: S,
}

/// One point of the search.
#[derive(Clone)]
struct Node<S> {
    at: Vec<(usize, usize)>,
    /// Whose turn it is. It follows from `at`.
    turn: usize,
    state: S,
}

/// Searches an order that explains the operations of every process. Gives up after `limit` states.
pub fn search<S: Model>(
    initial: S,
    processes: &[Vec<Operation<S::Moment>>],
    limit: usize,
) -> Verdict<S> {
    let first = Node {
        at: vec![(0, 0); processes.len()],
        turn: 0,
        state: initial,
    };
    let mut best = (0, first.clone());
    let mut open = vec![first];
    let mut seen = HashSet::new();
    while let Some(mut node) = open.pop() {
        look(&mut node, processes);
        let Some(deadline) = deadline(&node, processes) else {
            return Verdict::Explained(node.state);
        };
        if !seen.insert(fingerprint(&node)) {
            continue;
        }
        if deadline >= best.0 {
            best = (deadline, node.clone());
        }
        if seen.len() > limit {
            return Verdict::Undecided(stuck(best.1));
        }
        // The last one is tried first.
        open.extend(changes(&node, processes, deadline));
    }
    Verdict::Unexplained(stuck(best.1))
}

fn stuck<S>(node: Node<S>) -> Stuck<S> {
    Stuck {
        at: node.at,
        state: node.state,
    }
}

/// The earliest answer of an operation that is not finished; `None` when all are.
fn deadline<S: Model>(node: &Node<S>, processes: &[Vec<Operation<S::Moment>>]) -> Option<u64> {
    let pending = node.at.iter().zip(processes);
    pending
        .filter_map(|((done, _), operations)| operations.get(*done))
        .map(|operation| operation.answered)
        .min()
}

/// An operation and its next moment.
type Next<'a, M> = (&'a Operation<M>, &'a Timed<M>);

/// The next moment of a process, if it can come before `deadline`: nobody asks before an earlier
/// operation was answered, and turns are kept.
fn next<'a, S: Model>(
    node: &Node<S>,
    processes: &'a [Vec<Operation<S::Moment>>],
    process: usize,
    deadline: u64,
) -> Option<Next<'a, S::Moment>> {
    let (done, moment) = node.at[process];
    let operation = processes[process].get(done)?;
    let is_asked = moment > 0 || operation.asked <= deadline;
    let timed = &operation.script[moment];
    let is_its_turn = timed.turn.is_none_or(|turn| turn == node.turn);
    (is_asked && is_its_turn).then_some((operation, timed))
}

/// Takes every moment that only looks and can be now: what it saw can't become truer by waiting.
fn look<S: Model>(node: &mut Node<S>, processes: &[Vec<Operation<S::Moment>>]) {
    let mut process = 0;
    while process < processes.len() {
        let looked = deadline(node, processes)
            .and_then(|deadline| next(node, processes, process, deadline))
            .is_some_and(|(_, timed)| {
                matches!(node.state.apply(&timed.moment), Some(Effect::Same))
            });
        if looked {
            advance(&mut node.at[process], &processes[process]);
            // A finished operation may let any other begin.
            process = 0;
        } else {
            process += 1;
        }
    }
}

fn advance<M>(at: &mut (usize, usize), operations: &[Operation<M>]) {
    at.1 += 1;
    if at.1 == operations[at.0].script.len() {
        *at = (at.0 + 1, 0);
    }
}

/// Every node that one changing moment leads to, the one with the latest answer first.
///
/// A moment without rivals is the only one that has to be tried: whatever else could come before it
/// could as well come after it ("persistent sets", Godefroid 1996).
fn changes<S: Model>(
    node: &Node<S>,
    processes: &[Vec<Operation<S::Moment>>],
    deadline: u64,
) -> Vec<Node<S>> {
    let mut found = Vec::new();
    for process in 0..processes.len() {
        let Some((operation, timed)) = next(node, processes, process, deadline) else {
            continue;
        };
        let Some(Effect::Next(state)) = node.state.apply(&timed.moment) else {
            continue;
        };
        let mut at = node.at.clone();
        advance(&mut at[process], &processes[process]);
        let turn = node.turn + usize::from(timed.turn.is_some());
        let changed = Node { at, turn, state };
        if !has_rival(node, processes, process, (operation, timed)) {
            return vec![changed];
        }
        found.push((operation.answered, changed));
    }
    found.sort_by_key(|(answered, _)| std::cmp::Reverse(*answered));
    found.into_iter().map(|(_, node)| node).collect()
}

/// Whether something that other processes may yet do before this operation's next moment is a rival
/// of it. Of two moments with turns it is known which comes first.
fn has_rival<S: Model>(
    node: &Node<S>,
    processes: &[Vec<Operation<S::Moment>>],
    process: usize,
    (operation, timed): Next<'_, S::Moment>,
) -> bool {
    let others = node.at.iter().zip(processes).enumerate();
    let mut others = others.filter(|(other, _)| *other != process);
    others.any(|(_, ((done, moment), operations))| {
        let begun = operations.get(*done..).unwrap_or_default().iter();
        let begun = begun.take_while(|other| other.asked <= operation.answered);
        begun
            .flat_map(|other| &other.script)
            .skip(*moment)
            .take_while(|other| timed.turn.is_none() || other.turn.is_none())
            .any(|other| node.state.is_rival(&timed.moment, &other.moment))
    })
}

/// Two hashes: that two different nodes share both will not happen.
fn fingerprint<S: Hash>(node: &Node<S>) -> (u64, u64) {
    let hash = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, &node.at, &node.state).hash(&mut hasher);
        hasher.finish()
    };
    (hash(0), hash(1))
}

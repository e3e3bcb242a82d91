//! Random histories of versions and a channel, at a site that asks for approvals. Whatever is asked
//! in whatever order, these hold: no channel points to what can't be used; nothing is cloned of what
//! was revoked, or of what the table does not allow; what a channel points to is where its history
//! ends; nothing is published that a model of the approvals does not allow, and the audit says so.

use crate::approval::{ANN, BEN, CID, site, speak_of};
use crate::governance::{said, set, stable, two};
use crate::home::*;
use crate::seed;
use stampo_core::approval::Said;
use stampo_core::channel::stack;
use stampo_core::lifecycle::{NewClones, State, Verb, meaning};
use stampo_core::names::NamePattern;
use stampo_engine::Engine;
use stampo_store::ChannelMoveRow;

const HISTORIES: u64 = 500;
const STEPS: u64 = 12;

/// What may be asked. Purging is not: there would be nothing to ask about.
const VERBS: [Verb; 7] = [
    Verb::Publish,
    Verb::Deprecate,
    Verb::Obsolete,
    Verb::Reinstate,
    Verb::Revoke,
    Verb::Retire,
    Verb::Restore,
];

pub fn run() {
    in_memory(|| {
        let begun = two();
        let settings = begun.engine().set_approval(&site("team", ""));
        settings.expect("sound settings");
        let first = seed::seed();
        for history in 0..HISTORIES {
            let mixed = first.wrapping_add(history);
            let mut random = Random(mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let home = Home::copy_of(&begun.path());
            let engine = home.engine();
            let mut models = [Model::default(), Model::default()];
            for step in 0..STEPS {
                let number = 1 + u32::try_from(random.below(2)).expect("small");
                let model = &mut models[number as usize - 1];
                let what = one_step(&engine, number, &mut random, model);
                check(
                    &engine,
                    number,
                    &format!("seed {first}, history {history}, step {step}: {what}"),
                );
            }
            let audit = engine.audit_verify(&[]).expect("an audit");
            assert_eq!(audit.faults, [], "seed {first}, history {history}");
        }
    });
}

/// What was said about a version, as far as it matters. Nobody's word is void here but by a
/// rejection: bytes, pack and report stay what they are.
#[derive(Default)]
struct Model {
    approved: bool,
    broke: std::collections::BTreeSet<u8>,
}

impl Model {
    fn is_approved(&self) -> bool {
        self.approved || self.broke.len() >= 2
    }

    fn hear(&mut self, who: u8, what: Said) {
        match what {
            Said::Submitted => {}
            // Who submits is an author for ever, and only ever submits here.
            Said::Approved => self.approved = true,
            Said::Rejected => *self = Model::default(),
            Said::BrokeGlass => {
                self.broke.insert(who);
            }
        }
    }
}

/// Somebody says something. Whoever submits does not approve.
fn one_word(engine: &Engine, version: &str, random: &mut Random, model: &mut Model) -> String {
    const WORDS: [(u8, Said); 8] = [
        (ANN, Said::Submitted),
        (ANN, Said::Submitted),
        (BEN, Said::Approved),
        (BEN, Said::Approved),
        (ANN, Said::Approved),
        (CID, Said::Rejected),
        (ANN, Said::BrokeGlass),
        (CID, Said::BrokeGlass),
    ];
    let (who, what) = WORDS[usize::try_from(random.below(8)).expect("small")];
    let done = speak_of(engine, version, who, what);
    if done.is_ok() {
        let is_own = (who, what) == (ANN, Said::Approved);
        assert!(!is_own, "{version}: who submitted it approved it");
        model.hear(who, what);
    }
    format!("{who} {what:?} {version}: {:?}", done.is_ok())
}

fn publish(engine: &Engine, version: &str, model: &Model) -> String {
    let reference = reference(version);
    let before = engine.version_row(&reference).expect("a version").state;
    let done = said(engine, version, Verb::Publish);
    let may = match before {
        State::Sealed | State::Approved => model.is_approved(),
        _ => false,
    };
    assert_eq!(
        done.is_ok(),
        may,
        "publishing {version}, which was {before}"
    );
    format!("Publish {version}: {may}")
}

fn one_step(engine: &Engine, number: u32, random: &mut Random, model: &mut Model) -> String {
    let version = format!("web@{number}");
    match random.below(16) {
        10..=14 => one_word(engine, &version, random, model),
        15 => publish(engine, &version, model),
        0..=2 => format!("set {version}: {:?}", set(engine, &version).is_ok()),
        3 => {
            let back = engine.roll_back_channel(&reference("web:stable"), None);
            format!("rollback: {:?}", back.is_ok())
        }
        _ => {
            let verb = VERBS[usize::try_from(random.below(7)).expect("small")];
            if verb == Verb::Publish {
                return publish(engine, &version, model);
            }
            let done = said(engine, &version, verb);
            format!("{verb:?} {version}: {:?}", done.is_ok())
        }
    }
}

fn check(engine: &Engine, number: u32, what: &str) {
    for (_, version) in engine.channels().expect("channels") {
        let stays = version.state.stays_in_channel();
        assert!(stays, "{what}: {} is {}", version.label(), version.state);
    }
    let moves = engine
        .channel_history(&reference("web:stable"))
        .unwrap_or_default();
    let moves: Vec<_> = moves.iter().map(ChannelMoveRow::as_move).collect();
    assert_eq!(stack(&moves).last().copied(), stable(engine), "{what}");
    let reference = reference(&format!("web@{number}"));
    let row = engine.version_row(&reference).expect("a version");
    let plan = engine.plan_clones(&reference, &NamePattern::new("app"), &spec());
    let allowed = meaning(row.state).clones != NewClones::No;
    assert_eq!(plan.is_ok(), allowed, "{what}: clones of {number}");
    if row.governance.revoked.is_some() {
        assert_eq!(row.state, State::Revoked, "{what}: it came back");
    }
}

/// xorshift64*, by Vigna.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }
}

//! The audit as a witness: it tells in which order the changes of all processes were made.
//!
//! Each change is recorded in the transaction that makes it, so the order of the records is the
//! order of the changes. A step that left other records than its answer stands for is a failure by
//! itself.

use super::answer::Record;
use super::script::{Moment, script};
use super::search::Timed;
use stampo_engine::Engine;
use stampo_store::StoreError;
use std::collections::BTreeMap;

/// The records of each step, in order: their places among all, and their actions.
pub struct Audit {
    records: BTreeMap<String, Vec<(usize, String)>>,
}

/// Who a step is in the audit.
pub fn actor(process: usize, step: usize) -> String {
    format!("step:{process}:{step}")
}

/// Reads the records of all steps.
pub fn read(engine: &Engine) -> Result<Audit, String> {
    let rows = engine.store().read(|tx| tx.audit(u32::MAX));
    let rows = rows.map_err(|error: StoreError| error.to_string())?;
    let mut records: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    let of_steps = rows.into_iter().rev();
    let of_steps = of_steps.filter(|row| row.actor.starts_with("step:"));
    // What was only about to be done changes nothing yet, and may find its guest gone.
    let of_steps = of_steps.filter(|row| row.outcome != "begun");
    for (turn, row) in of_steps.enumerate() {
        let of_step = records.entry(row.actor).or_default();
        of_step.push((turn, row.action));
    }
    Ok(Audit { records })
}

impl Audit {
    /// The moments of a step with their turns.
    pub fn give_turns(
        &mut self,
        actor: &str,
        record: &Record,
    ) -> Result<Vec<Timed<Moment>>, String> {
        let records = self.records.remove(actor).unwrap_or_default();
        let moments = script(record);
        let expected: Vec<&str> = moments.iter().filter_map(Moment::audited).collect();
        let found: Vec<&str> = records.iter().map(|(_, action)| action.as_str()).collect();
        if expected != found {
            return Err(format!(
                "{actor}, {}, should have {expected:?} in the audit, and has {found:?}",
                record.step
            ));
        }
        let mut turns = records.into_iter().map(|(turn, _)| turn);
        let timed = moments.into_iter().map(|moment| {
            let turn = moment.audited().and_then(|_| turns.next());
            Timed { moment, turn }
        });
        Ok(timed.collect())
    }
}

//! What the command costs before it does anything.

use super::super::lab::Lab;
use super::super::program::{command, timed};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use anyhow::Result;

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let sides = vec![
        Side {
            name: "stampo --version".to_owned(),
            how: "stampo --version".to_owned(),
            ours: true,
            run: Box::new(|_| timed(&mut lab.stampo(&["--version"]))),
        },
        Side {
            name: "qemu-img --version".to_owned(),
            how: "qemu-img --version".to_owned(),
            ours: false,
            run: Box::new(|_| timed(&mut command(&["qemu-img", "--version"]))),
        },
        Side {
            name: "stampo ps, nothing to list".to_owned(),
            how: "stampo ps".to_owned(),
            ours: true,
            run: Box::new(|_| timed(&mut lab.stampo(&["ps"]))),
        },
    ];
    Ok(Made::Rows(vec![Row {
        id: "start",
        work: "start of the command".to_owned(),
        sides,
        goals: vec![Goal {
            ours: 0,
            beside: 1,
            wanted: Wanted::AtMost(10.0),
        }],
        rounds: 21,
        note: String::new(),
    }]))
}

//! What is inside a disk.

use super::super::lab::{Lab, PLAIN};
use super::super::program::timed;
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use super::seal::guestfs;
use anyhow::Result;

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let disk = lab.disk(PLAIN, "raw");
    let sides = vec![
        Side {
            name: "stampo template inspect".to_owned(),
            how: "stampo template inspect plain -o json".to_owned(),
            ours: true,
            run: Box::new(|_| {
                timed(&mut lab.stampo(&["template", "inspect", PLAIN, "-o", "json"]))
            }),
        },
        Side {
            name: "virt-inspector".to_owned(),
            how: "virt-inspector --format=raw -a DISK".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                timed(guestfs(&["virt-inspector", "--format=raw", "-a"]).arg(&disk))
            }),
        },
    ];
    Ok(Made::Rows(vec![Row {
        id: "inspect",
        work: "inspect".to_owned(),
        sides,
        goals: vec![Goal {
            ours: 0,
            beside: 1,
            wanted: Wanted::FasterBy(50.0),
        }],
        rounds: 3,
        note: "virt-inspector's appliance is emulated (force_tcg).".to_owned(),
    }]))
}

//! Sealing: every item, the free space, the check of the filesystem and the proof.

use super::super::lab::{Lab, PLAIN, copy_sparse};
use super::super::program::{command, output, timed};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use anyhow::Result;
use std::process::Command;

/// A program of libguestfs, with its appliance emulated: on machines without KVM it is anyway.
pub fn guestfs(words: &[&str]) -> Command {
    let mut program = command(words);
    program
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
    program
}

/// Makes a draft of the unsealed disk, seals it, and frees it.
fn seal_once(lab: &Lab, round: usize) -> Result<f64> {
    let name = format!("seal-{round}");
    let disk = lab.disk(PLAIN, "raw").display().to_string();
    lab.ok(&["template", "import", &name, &disk, "--format", "raw"])?;
    let ms = timed(&mut lab.stampo(&["template", "seal", &name]))?;
    for verb in ["retire", "purge"] {
        lab.ok(&["template", verb, &name])?;
    }
    Ok(ms)
}

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let (source, copy) = (lab.disk(PLAIN, "raw"), lab.path("sysprep.raw"));
    let sides = vec![
        Side {
            name: "stampo template seal".to_owned(),
            how: "stampo template seal NAME".to_owned(),
            ours: true,
            run: Box::new(move |round| seal_once(lab, round)),
        },
        Side {
            name: "virt-sysprep".to_owned(),
            how: "virt-sysprep --format raw -a COPY".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                copy_sparse(&source, &copy)?;
                // What the copy left to be written back is not virt-sysprep's to wait for.
                output(command(&["sync"]).arg(&copy))?;
                let words = ["virt-sysprep", "--quiet", "--format", "raw", "-a"];
                timed(guestfs(&words).arg(&copy))
            }),
        },
    ];
    Ok(Made::Rows(vec![Row {
        id: "seal",
        work: "seal (all items, proof included), 735 MiB on ext4".to_owned(),
        sides,
        goals: vec![Goal {
            ours: 0,
            beside: 1,
            wanted: Wanted::FasterBy(200.0),
        }],
        rounds: 5,
        note: "stampo seals a copy that it makes itself, and that counts; virt-sysprep edits the disk \
               that it is given, and copying it before is not counted. Its appliance is emulated \
               (force_tcg)."
            .to_owned(),
    }]))
}

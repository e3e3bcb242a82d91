//! The overlay alone: a call in the process beside a program that is started for it.

use super::super::lab::{Lab, PLAIN};
use super::super::program::{milliseconds, timed, write_back};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use super::linked::create_overlay;
use anyhow::Result;
use stampo_image::device::BlockDevice;
use stampo_image::overlay::Overlay;
use std::path::Path;
use std::time::Instant;

/// Overlays in one round: one alone is too short for the clock to be trusted.
const COUNT: u32 = 20;

/// The mean time of one overlay, with everything that makes it durable when that is asked for.
fn in_process(dir: &Path, base: &Path, durable: bool) -> Result<f64> {
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir)?;
    let size_bytes = std::fs::metadata(base)?.len();
    write_back();
    let start = Instant::now();
    for number in 0..COUNT {
        let path = dir.join(format!("{number}.qcow2"));
        let overlay = Overlay::create(&path, base, size_bytes)?;
        if durable {
            overlay.flush()?;
        }
    }
    Ok(milliseconds(start) / f64::from(COUNT))
}

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let base = lab.image(PLAIN)?;
    let dir = lab.path("overlays");
    let (for_durable, for_bare, for_qemu) = (base.clone(), base.clone(), base);
    let (durable, bare, file) = (dir.clone(), dir, lab.path("overlay.qcow2"));
    let sides = vec![
        Side {
            name: "Overlay::create and flush".to_owned(),
            how: "in the process: create, fdatasync, fsync of the directory".to_owned(),
            ours: true,
            run: Box::new(move |_| in_process(&durable, &for_durable, true)),
        },
        Side {
            name: "qemu-img create -b".to_owned(),
            how: "qemu-img create -f qcow2 -F raw -b BASE NEW".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                let _ = std::fs::remove_file(&file);
                timed(&mut create_overlay(&file, &for_qemu))
            }),
        },
        Side {
            name: "Overlay::create".to_owned(),
            how: "in the process; nothing durable yet, as when a clone is made: its disk is made \
                  durable once, when it is complete"
                .to_owned(),
            ours: true,
            run: Box::new(move |_| in_process(&bare, &for_bare, false)),
        },
    ];
    Ok(Made::Rows(vec![Row {
        id: "overlay",
        work: "the overlay alone, in-process".to_owned(),
        sides,
        goals: vec![Goal {
            ours: 0,
            beside: 1,
            wanted: Wanted::FasterBy(20.0),
        }],
        rounds: 15,
        note: format!(
            "Each of our rounds makes {COUNT} overlays and counts the mean. qemu-img calls fdatasync \
             for the overlay's tables but never makes its name durable; `Overlay::create` and \
             `flush` do both."
        ),
    }]))
}

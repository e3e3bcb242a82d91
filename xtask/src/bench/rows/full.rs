//! A full clone on a filesystem that shares blocks.

use super::super::filesystem::Filesystem;
use super::super::lab::{Lab, PLAIN, copy_sparse};
use super::super::libvirt::{self, Libvirt};
use super::super::program::{command, output, timed};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use anyhow::Result;
use std::path::Path;
use std::rc::Rc;

pub fn xfs(lab: &Lab) -> Result<Made<'_>> {
    make(lab, "xfs", "full-xfs")
}

pub fn btrfs(lab: &Lab) -> Result<Made<'_>> {
    make(lab, "btrfs", "full-btrfs")
}

fn clone_once(lab: &Lab, home: &Path, name: &str, options: &[&str]) -> Result<f64> {
    let words = [&["clone", PLAIN, name, "--full", "--no-start"], options].concat();
    let ms = timed(&mut lab.stampo_in(home, &words))?;
    output(&mut lab.stampo_in(home, &["rm", name]))?;
    Ok(ms)
}

fn make<'a>(lab: &'a Lab, kind: &str, id: &'static str) -> Result<Made<'a>> {
    if !libvirt::is_root() {
        let why = format!("mounting {kind} needs root: sudo -E cargo xtask bench main");
        return Ok(Made::Skipped(why));
    }
    let place = Rc::new(Filesystem::make(lab, kind)?);
    let (home, source) = (place.path("home"), place.path("source.raw"));
    copy_sparse(&lab.disk(PLAIN, "raw"), &source)?;
    lab.publish(&home, PLAIN, &source)?;
    output(command(&["sync", "-f"]).arg(place.mount()))?;
    let libvirt = Libvirt::start()?;
    let machine = libvirt.define(lab, "reflink", &source, "raw")?;
    let (for_copy, for_clone, key) = (
        place.path("copy.raw"),
        place.path("clone.raw"),
        lab.public_key(),
    );
    let (other, kept) = (home.clone(), place.clone());
    let sides = vec![
        Side {
            name: "stampo clone --full".to_owned(),
            how: "stampo clone plain NAME --full --no-start --no-personalisation".to_owned(),
            ours: true,
            run: Box::new(move |round| {
                clone_once(
                    lab,
                    &home,
                    &format!("bare-{round}"),
                    &["--no-personalisation"],
                )
            }),
        },
        Side {
            name: "cp --reflink=always".to_owned(),
            how: "cp --reflink=always DISK NEW".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                let _ = std::fs::remove_file(&for_copy);
                timed(command(&["cp", "--reflink=always"]).args([&source, &for_copy]))
            }),
        },
        Side {
            name: "virt-clone --reflink".to_owned(),
            how: "virt-clone --original SOURCE --name NAME --file NEW --reflink".to_owned(),
            ours: false,
            run: Box::new(move |round| {
                let _ = std::fs::remove_file(&for_clone);
                let (mut clone, name) =
                    libvirt.virt_clone(&machine, round, &for_clone, &["--reflink"]);
                let ms = timed(&mut clone)?;
                libvirt.undefine(&name)?;
                Ok(ms)
            }),
        },
        Side {
            name: "stampo clone --full, personalised".to_owned(),
            how: "stampo clone plain NAME --full --no-start --user admin:sudo --ssh-key FILE"
                .to_owned(),
            ours: true,
            run: Box::new(move |round| {
                // Held by the last side: unmounted when the row is done.
                let _mounted = &kept;
                let options = ["--user", "admin:sudo", "--ssh-key", &key];
                clone_once(lab, &other, &format!("own-{round}"), &options)
            }),
        },
    ];
    let goal = |ours, beside, wanted| Goal {
        ours,
        beside,
        wanted,
    };
    Ok(Made::Rows(vec![Row {
        id,
        work: format!("full clone on {kind}"),
        sides,
        goals: vec![
            goal(0, 1, Wanted::AtMostMore(20.0)),
            goal(0, 2, Wanted::FasterBy(8.0)),
            goal(3, 1, Wanted::AtMostMore(20.0)),
            goal(3, 2, Wanted::FasterBy(8.0)),
        ],
        rounds: 11,
        note: "The filesystem is in a file on the machine's own, mounted for this row.".to_owned(),
    }]))
}

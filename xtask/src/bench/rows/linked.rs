//! One linked clone, personalised offline, catalogued and audited.

use super::super::lab::{Lab, PLAIN};
use super::super::libvirt::Libvirt;
use super::super::program::{command, output, timed};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

/// `qemu-img create` of an overlay.
pub fn create_overlay(overlay: &Path, base: &Path) -> Command {
    let mut create = command(&["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b"]);
    create.arg(base).arg(overlay);
    create
}

/// The options of a personalised clone that is not started.
pub fn personal(lab: &Lab) -> Vec<String> {
    let key = lab.public_key();
    [
        "--linked",
        "--no-start",
        "--user",
        "admin:sudo",
        "--ssh-key",
        &key,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Runs a clone and removes it again; only the clone is counted.
pub fn clone_once(lab: &Lab, name: &str, options: &[String]) -> Result<f64> {
    let mut clone = lab.stampo(&["clone", PLAIN, name]);
    let ms = timed(clone.args(options))?;
    lab.ok(&["rm", name])?;
    Ok(ms)
}

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let base = lab.image(PLAIN)?;
    let libvirt = Rc::new(Libvirt::start()?);
    // virt-clone keeps the disk that is given, so it is one and the same in every round.
    let disk = lab.path("virt-clone.qcow2");
    output(&mut create_overlay(&disk, &base))?;
    let source = libvirt.define(lab, "source", &disk, "qcow2")?;
    let personal = personal(lab);
    let mut plain = vec!["--linked".to_owned(), "--no-start".to_owned()];
    plain.push("--no-personalisation".to_owned());
    let overlay: PathBuf = lab.path("overlay.qcow2");
    let sides = vec![
        Side {
            name: "stampo clone".to_owned(),
            how: "stampo clone plain NAME --linked --no-start --user admin:sudo --ssh-key FILE"
                .to_owned(),
            ours: true,
            run: Box::new(move |round| clone_once(lab, &format!("one-{round}"), &personal)),
        },
        Side {
            name: "qemu-img create -b".to_owned(),
            how: "qemu-img create -f qcow2 -F raw -b BASE NEW".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                let _ = std::fs::remove_file(&overlay);
                timed(&mut create_overlay(&overlay, &base))
            }),
        },
        Side {
            name: "virt-clone --preserve-data".to_owned(),
            how: "virt-clone --original SOURCE --name NAME --file DISK --preserve-data".to_owned(),
            ours: false,
            run: Box::new(move |round| {
                let more = ["--preserve-data", "--check", "path_in_use=off"];
                let (mut clone, name) = libvirt.virt_clone(&source, round, &disk, &more);
                let ms = timed(&mut clone)?;
                libvirt.undefine(&name)?;
                Ok(ms)
            }),
        },
        Side {
            name: "stampo clone, not personalised".to_owned(),
            how: "stampo clone plain NAME --linked --no-start --no-personalisation".to_owned(),
            ours: true,
            run: Box::new(move |round| clone_once(lab, &format!("bare-{round}"), &plain)),
        },
    ];
    Ok(Made::Rows(vec![Row {
        id: "linked",
        work: "linked clone, personalised offline, catalogued and audited, one command".to_owned(),
        sides,
        goals: vec![
            Goal {
                ours: 0,
                beside: 1,
                wanted: Wanted::AtMostTimes(4.0),
            },
            Goal {
                ours: 0,
                beside: 2,
                wanted: Wanted::FasterBy(4.0),
            },
        ],
        rounds: 15,
        note: "virt-clone --preserve-data makes no disk: it defines a machine over one that is there, \
               and changes nothing inside."
            .to_owned(),
    }]))
}

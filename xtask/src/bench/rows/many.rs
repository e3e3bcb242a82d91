//! A hundred linked clones in one command, beside shell loops that make a hundred overlays.

use super::super::lab::{Lab, PLAIN};
use super::super::program::{bash, timed};
use super::super::row::{Goal, Row, Side, Wanted};
use super::{Made, linked};
use anyhow::Result;
use std::path::Path;

/// How many.
const COUNT: usize = 100;

fn clone_many(lab: &Lab, options: &[String]) -> Result<f64> {
    let mut clone = lab.stampo(&["clone", PLAIN, "many-{n}", "--count", &COUNT.to_string()]);
    let ms = timed(clone.args(options))?;
    let names: Vec<String> = (1..=COUNT).map(|n| format!("many-{n}")).collect();
    let mut words = vec!["rm"];
    words.extend(names.iter().map(String::as_str));
    lab.ok(&words)?;
    Ok(ms)
}

/// One of the loops, with the files removed before it.
fn shell<'a>(lab: &'a Lab, base: &Path, name: &str, how: String) -> Side<'a> {
    let dir = lab.path("many");
    let base = base.to_owned();
    Side {
        name: name.to_owned(),
        how: how.clone(),
        ours: false,
        run: Box::new(move |_| {
            let _ = std::fs::remove_dir_all(&dir);
            std::fs::create_dir_all(&dir)?;
            timed(bash(&how).env("BASE", &base).current_dir(&dir))
        }),
    }
}

fn loops<'a>(lab: &'a Lab, base: &Path) -> [Side<'a>; 2] {
    let create = "qemu-img create -q -f qcow2 -F raw -b \"$BASE\"";
    [
        shell(
            lab,
            base,
            "shell loop of qemu-img create -b",
            format!("for i in $(seq {COUNT}); do {create} $i.qcow2; done"),
        ),
        shell(
            lab,
            base,
            "xargs -P2 of the same",
            format!("seq {COUNT} | xargs -P2 -I@ {create} @.qcow2"),
        ),
    ]
}

pub fn personalised(lab: &Lab) -> Result<Made<'_>> {
    let options = linked::personal(lab);
    let ours = Side {
        name: "stampo clone --count 100".to_owned(),
        how: "stampo clone plain 'many-{n}' --count 100 --linked --no-start --user admin:sudo --ssh-key FILE"
            .to_owned(),
        ours: true,
        run: Box::new(move |_| clone_many(lab, &options)),
    };
    let [one, two] = loops(lab, &lab.image(PLAIN)?);
    let goals = vec![Goal {
        ours: 0,
        beside: 1,
        wanted: Wanted::FasterBy(1.5),
    }];
    Ok(Made::Rows(vec![Row {
        id: "many",
        work: "the same ×100 in one command".to_owned(),
        sides: vec![ours, one, two],
        goals,
        rounds: 9,
        note: String::new(),
    }]))
}

pub fn plain(lab: &Lab) -> Result<Made<'_>> {
    let options: Vec<String> = ["--linked", "--no-start", "--no-personalisation"]
        .map(str::to_owned)
        .to_vec();
    let ours = Side {
        name: "stampo clone --count 100, not personalised".to_owned(),
        how: "stampo clone plain 'many-{n}' --count 100 --linked --no-start --no-personalisation"
            .to_owned(),
        ours: true,
        run: Box::new(move |_| clone_many(lab, &options)),
    };
    let [one, two] = loops(lab, &lab.image(PLAIN)?);
    let goal = |beside, limit| Goal {
        ours: 0,
        beside,
        wanted: Wanted::FasterBy(limit),
    };
    Ok(Made::Rows(vec![Row {
        id: "many-plain",
        work: "×100 in one command, no personalisation".to_owned(),
        sides: vec![ours, one, two],
        goals: vec![goal(1, 5.0), goal(2, 2.0)],
        rounds: 9,
        note: String::new(),
    }]))
}

//! A qcow2 file into the catalog, beside its conversion.

use super::super::lab::{Lab, PLAIN};
use super::super::program::{bash, command, timed};
use super::super::row::{Goal, Row, Side, Wanted};
use super::Made;
use anyhow::Result;

fn import_once(lab: &Lab, round: usize, file: &str) -> Result<f64> {
    let name = format!("import-{round}");
    let words = ["template", "import", &name, file, "--format", "qcow2"];
    let ms = timed(&mut lab.stampo(&words))?;
    lab.ok(&["template", "purge", &name])?;
    Ok(ms)
}

pub fn make(lab: &Lab) -> Result<Made<'_>> {
    let file = lab.disk(PLAIN, "qcow2").display().to_string();
    let (first, second) = (file.clone(), file.clone());
    let raw = lab.path("converted.raw");
    let other = raw.clone();
    let sides = vec![
        Side {
            name: "stampo template import".to_owned(),
            how: "stampo template import NAME FILE --format qcow2".to_owned(),
            ours: true,
            run: Box::new(move |round| import_once(lab, round, &file)),
        },
        Side {
            name: "qemu-img convert".to_owned(),
            how: "qemu-img convert -f qcow2 -O raw FILE NEW".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                let _ = std::fs::remove_file(&raw);
                let words = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", &first];
                timed(command(&words).arg(&raw))
            }),
        },
        Side {
            name: "qemu-img convert, then sync".to_owned(),
            how: "qemu-img convert -f qcow2 -O raw FILE NEW; sync NEW".to_owned(),
            ours: false,
            run: Box::new(move |_| {
                let _ = std::fs::remove_file(&other);
                let script = "qemu-img convert -f qcow2 -O raw \"$FROM\" \"$TO\"; sync \"$TO\"";
                timed(bash(script).env("FROM", &second).env("TO", &other))
            }),
        },
    ];
    let goal = |beside| Goal {
        ours: 0,
        beside,
        wanted: Wanted::AtMostTimes(1.5),
    };
    Ok(Made::Rows(vec![Row {
        id: "import",
        work: "import qcow2 → catalog, digest and safety included".to_owned(),
        sides,
        goals: vec![goal(1)],
        rounds: 9,
        note: "stampo's import is durable when it returns; qemu-img leaves the data to be written \
               back, unless sync is called."
            .to_owned(),
    }]))
}

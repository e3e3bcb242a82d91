//! Guests that the driver has lost: defined again when they are looked at, and not by every command.

use crate::clean::assert_clean;
use crate::home::*;
use stampo_core::lifecycle::Verb;
use stampo_driver::Power;
use stampo_engine::Engine;
use stampo_store::GuestRow;

/// A home whose driver does not know its guest `app`, as a command finds it that has recovered.
fn lost() -> (Home, Engine, GuestRow) {
    let home = one_guest();
    let engine = home.engine();
    let row = engine.guest_row(&name("app")).expect("a guest");
    engine.driver().ensure_undefined(row.id).expect("undefined");
    drop(engine);
    let engine = home.engine();
    (home, engine, row)
}

fn is_defined(engine: &Engine, row: &GuestRow) -> bool {
    let power = engine.driver().observe(row.id).expect("observed");
    power != Power::Undefined
}

/// With 100,000 guests each command would ask the driver 100,000 times.
pub fn a_start_looks_at_no_guest() {
    let (home, engine, row) = lost();
    assert!(!is_defined(&engine, &row), "every guest was looked at");
    // Nor does a command that has nothing to do with the guest.
    let retired = engine.change_version(&reference("web@1"), Verb::Retire);
    retired.expect("retired");
    assert!(!is_defined(&home.engine(), &row));
}

type Act = fn(&Engine, &GuestRow);

const ACTS: [(&str, Act); 8] = [
    ("power", |e, row| assert_eq!(e.power(row), Power::Stopped)),
    ("start", |e, _| {
        drop(e.start(&name("app")).expect("started"))
    }),
    ("stop", |e, _| {
        e.stop(&name("app"), true).expect("stopped");
    }),
    ("rename", |e, _| {
        drop(e.rename(&name("app"), &name("db")).expect("renamed"));
    }),
    ("read a file", |e, _| {
        drop(e.read_file(&name("app"), "/etc/hostname").expect("read"));
    }),
    ("logs", |e, _| {
        drop(e.console_log(&name("app")).expect("a log"))
    }),
    ("rescan", |e, _| drop(e.rescan().expect("a rescan"))),
    ("remove", |e, row| {
        e.remove(&name("app"), None).expect("removed");
        let dir = e.home().join("guests").join(row.id.to_string());
        assert!(!dir.exists());
    }),
];

/// Whoever looks at it finds it as it was.
pub fn a_lost_guest_is_defined_when_it_is_looked_at() {
    for (what, act) in ACTS {
        let (home, engine, row) = lost();
        act(&engine, &row);
        assert_eq!(is_defined(&engine, &row), what != "remove", "{what}");
        drop(engine);
        assert_clean(&home.path(), what);
    }
}

/// An older catalog knows a guest that is gone: nothing of it is made anew, and a start says why.
pub fn a_guest_without_its_disk_is_not_defined() {
    let (home, engine, row) = lost();
    let dir = home.path().join("guests").join(row.id.to_string());
    std::fs::remove_dir_all(&dir).expect("removed");
    assert!(matches!(engine.power(&row), Power::Unknown { .. }));
    let error = engine.start(&name("app")).expect_err("nothing to start");
    let said = error.chain();
    assert!(
        said.contains("its disk is missing") && said.contains("disk.qcow2"),
        "{said}"
    );
    assert!(!dir.exists(), "a directory was made for it");
    engine.remove(&name("app"), None).expect("removed");
    drop(engine);
    assert_clean(&home.path(), "removed");
}

//! The audit: whatever is changed in it is found, and what can't be recorded is not done.

use crate::approval::site;
use crate::cases::Case;
use crate::governance::row;
use crate::home::*;
use libtest_mimic::Trial;
use stampo_core::lifecycle::State;
use stampo_driver::Power;
use stampo_engine::{AuditVerified, Engine, EngineError, GuestCommand, Removal, Streams};
use stampo_store::DamagedRow;

pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn()| {
        Trial::test(format!("audit_{name}"), move || {
            test();
            Ok(())
        })
    };
    vec![
        trial("every_changed_byte_is_found", every_byte),
        trial("what_is_removed_or_moved_is_found", removed),
        trial(
            "what_is_cut_off_is_found_as_far_as_checkpoints_show",
            cut_off,
        ),
        trial("checkpoint_is_made_when_it_is_time", due),
        trial("what_can_not_be_recorded_is_not_done", unrecorded),
        trial("holds_no_secret", secrets),
    ]
}

/// The commands that are killed, fail, and lose power.
pub fn cases() -> Vec<Case> {
    vec![Case {
        name: "audit_checkpoint",
        prepare: Home::published,
        act: |e| e.audit_checkpoint().map(drop),
        done: |e| {
            let last = e.store().read(|tx| tx.last_checkpoint()).expect("read");
            last.is_some() && e.audit_verify(&[]).expect("read").faults.is_empty()
        },
    }]
}

/// With some records, and a checkpoint in their middle and one at their end.
fn recorded() -> Home {
    let home = Home::published();
    let engine = home.engine();
    engine.audit_checkpoint().expect("signed").expect("made");
    for (action, detail) in [("exec", "/bin/true"), ("publish", "größer"), ("stop", "")] {
        engine.audit_failure(action, "web@1", "refused", detail);
    }
    engine.audit_checkpoint().expect("signed").expect("made");
    home
}

/// Somebody with the catalog's file and this program: the checksums of rows are right afterwards.
struct Tamperer {
    raw: rusqlite::Connection,
    engine: Engine,
}

impl Tamperer {
    fn of(home: &Home) -> Tamperer {
        let engine = home.engine();
        let raw = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opened");
        for table in ["audit", "audit_checkpoints"] {
            raw.execute_batch(&format!("DROP TRIGGER {table}_updated"))
                .expect("dropped");
        }
        Tamperer { raw, engine }
    }

    fn change(&self, sql: &str) {
        self.raw.execute_batch(sql).expect("changed");
        for table in ["audit", "audit_checkpoints"] {
            let of = format!("SELECT rowid FROM {table}");
            let mut statement = self.raw.prepare(&of).expect("a table");
            let ids = statement.query_map([], |row| row.get(0)).expect("rows");
            let ids: Vec<i64> = ids.map(|id| id.expect("a row")).collect();
            let keep = |rowid: i64| DamagedRow {
                table: table.to_owned(),
                rowid,
                key: Vec::new(),
            };
            self.engine
                .store()
                .write(|tx| {
                    ids.iter()
                        .try_for_each(|id| tx.keep_damaged_row(&keep(*id)))
                })
                .expect("as if nothing had been");
        }
    }

    fn found(&self) -> AuditVerified {
        self.engine.audit_verify(&[]).expect("read")
    }
}

/// Each byte of each field of each record and of each checkpoint.
fn every_byte() {
    let home = recorded();
    let tamperer = Tamperer::of(&home);
    assert_eq!(tamperer.found().faults, [], "before anything was changed");
    let mut changed = 0;
    for (table, columns) in [
        (
            "audit",
            &[
                "at_ms", "actor", "action", "resource", "outcome", "detail", "link",
            ][..],
        ),
        (
            "audit_checkpoints",
            &["at_ms", "body", "signature", "public_key"][..],
        ),
    ] {
        let sql = format!("SELECT sequence FROM {table}");
        let mut statement = tamperer.raw.prepare(&sql).expect("a table");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        let rows: Vec<i64> = rows.map(|row| row.expect("a row")).collect();
        assert!(rows.len() >= 2, "{table}");
        for sequence in rows {
            for column in columns {
                changed += each_byte(&tamperer, table, column, sequence);
            }
        }
    }
    assert!(changed > 2000, "{changed}");
    assert_eq!(tamperer.found().faults, [], "all is back");
}

fn each_byte(tamperer: &Tamperer, table: &str, column: &str, sequence: i64) -> usize {
    let of = format!("FROM {table} WHERE sequence = {sequence}");
    let hex = format!("SELECT hex(CAST({column} AS BLOB)), typeof({column}) {of}");
    let (hex, kind): (String, String) = tamperer
        .raw
        .query_row(&hex, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("a field");
    let write = |hex: &str| {
        format!(
            "UPDATE {table} SET {column} = CAST(CAST(x'{hex}' AS TEXT) AS {kind})
             WHERE sequence = {sequence}"
        )
    };
    let count = hex.len() / 2;
    for at in 0..count {
        let mut digits: Vec<char> = hex.chars().collect();
        // The low bit: a letter or a digit stays one, but for few.
        let low = digits[at * 2 + 1].to_digit(16).expect("a digit") ^ 1;
        digits[at * 2 + 1] = char::from_digit(low, 16).expect("a digit");
        let other: String = digits.into_iter().collect();
        tamperer.change(&write(&other));
        let found = tamperer.found();
        assert!(
            !found.faults.is_empty(),
            "byte {at} of {column} of {table} {sequence} was changed and not found"
        );
        assert!(found.faults.len() <= 4, "{found:?}");
    }
    tamperer.change(&write(&hex));
    count
}

fn removed() {
    let changes = [
        "DELETE FROM audit WHERE sequence = 1",
        "DELETE FROM audit WHERE sequence = 3",
        "DELETE FROM audit WHERE sequence IN (2, 3)",
        // The newest, which a checkpoint covers.
        "DELETE FROM audit WHERE sequence = (SELECT MAX(sequence) FROM audit)",
        "DELETE FROM audit",
        // Two change their places.
        "UPDATE audit SET sequence = -1 WHERE sequence = 2;
         UPDATE audit SET sequence = 2 WHERE sequence = 3;
         UPDATE audit SET sequence = 3 WHERE sequence = -1",
        // One is removed, and the others close up.
        "DELETE FROM audit WHERE sequence = 2;
         UPDATE audit SET sequence = sequence - 1 WHERE sequence > 2",
        // One is written twice.
        "INSERT INTO audit (sequence, at_ms, actor, action, resource, outcome, detail, link)
         SELECT sequence + 1, at_ms, actor, action, resource, outcome, detail, link FROM audit
         ORDER BY sequence DESC LIMIT 1",
        "UPDATE audit_checkpoints SET sequence = sequence + 1",
    ];
    for change in changes {
        let home = recorded();
        let tamperer = Tamperer::of(&home);
        let inserts = "DROP TRIGGER audit_inserted";
        tamperer.raw.execute_batch(inserts).expect("dropped");
        tamperer.change(change);
        assert!(!tamperer.found().faults.is_empty(), "not found: {change}");
    }
}

fn cut_off() {
    let home = recorded();
    let engine = home.engine();
    let kept = engine.audit_checkpoint().expect("signed").expect("made");
    for at in 0..3 {
        engine.audit_failure("exec", "web@1", "refused", &at.to_string());
    }
    let later = engine.audit_checkpoint().expect("signed").expect("made");
    let tamperer = Tamperer::of(&home);
    // With the last checkpoint what it covered can be cut off, and only one kept elsewhere tells.
    tamperer.change(
        "DELETE FROM audit WHERE sequence > (SELECT MAX(sequence) - 2 FROM audit);
         DELETE FROM audit_checkpoints
         WHERE sequence = (SELECT MAX(sequence) FROM audit_checkpoints)",
    );
    let found = tamperer.found();
    assert_eq!(found.faults, [], "this can't be seen here");
    assert!(
        found
            .unseen()
            .starts_with("1 records are after the last checkpoint")
    );
    let verify = |kept| engine.audit_verify(&[kept]).expect("read").faults;
    assert_eq!(verify(kept.clone()), []);
    let faults = verify(later);
    assert!(
        faults[0].what.contains("records were removed"),
        "{faults:?}"
    );
    // Somebody else's checkpoint is no witness.
    let mut forged = kept;
    forged.text = forged.text.replace("\"sequence\":", "\"sequence\":1");
    assert!(!verify(forged).is_empty());
    // A site's key that was exchanged.
    std::fs::remove_file(home.path().join("site-key")).expect("removed");
    assert!(!tamperer.found().faults.is_empty(), "no key, no checkpoint");
}

fn due() {
    let home = Home::published();
    let engine = home.engine();
    assert!(
        !engine.checkpoint_if_due().expect("asked"),
        "a few new records"
    );
    for at in 0..256 {
        engine.audit_failure("exec", "web@1", "refused", &at.to_string());
    }
    assert!(engine.checkpoint_if_due().expect("asked"));
    assert!(!engine.checkpoint_if_due().expect("asked"), "there is one");
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(home.path().join("site-key")).expect("made");
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
}

/// The audit can't be written any more: whatever is asked is refused, and nothing happens.
fn unrecorded() {
    let home = Home::published();
    let engine = home.engine();
    clone(&engine, "app", &spec()).expect("cloned");
    engine.start(&name("app")).expect("started");
    let raw = rusqlite::Connection::open(home.path().join("catalog.db")).expect("opened");
    raw.execute_batch(
        "CREATE TRIGGER no_more BEFORE INSERT ON audit
         BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
    )
    .expect("made");
    type Act = fn(&Engine) -> Result<(), EngineError>;
    let acts: [(&str, Act); 14] = [
        ("stop", |e| e.stop(&name("app"), true).map(drop)),
        ("exec", exec),
        ("read_file", |e| {
            e.read_file(&name("app"), "/etc/hostname").map(drop)
        }),
        ("write_file", |e| {
            e.write_file(&name("app"), "/root/x", b"y")
        }),
        ("rename", |e| e.rename(&name("app"), &name("db")).map(drop)),
        ("remove", |e| {
            let force = Removal {
                keep: None,
                force: true,
            };
            e.remove_all(&[name("app")], force)
        }),
        ("clone", |e| clone(e, "more", &spec()).map(drop)),
        ("import", |e| import(e, "new", source()).map(drop)),
        ("deprecate", |e| {
            crate::governance::said(e, "web@1", stampo_core::lifecycle::Verb::Deprecate).map(drop)
        }),
        ("hold", |e| {
            let mark = stampo_engine::Mark::Hold("court".to_owned());
            e.mark(&reference("web@1"), &mark).map(drop)
        }),
        ("channel set", |e| crate::governance::set(e, "web@1")),
        ("approval set", |e| {
            e.set_approval(&site("team", "")).map(drop)
        }),
        ("policy set", |e| e.set_policy_pack(None).map(drop)),
        ("policy check", |e| {
            e.policy_check(&reference("web@1"), None).map(drop)
        }),
    ];
    for (what, act) in acts {
        let error = act(&engine).expect_err(what).chain();
        assert!(error.contains("the disk is full"), "{what}: {error}");
        let guests = engine.store().read(|tx| tx.guests()).expect("rows");
        let names: Vec<String> = guests.iter().map(|guest| guest.name.to_string()).collect();
        assert_eq!(names, ["app"], "{what}");
        let is_running = matches!(engine.power(&guests[0]), Power::Running { .. });
        assert!(is_running, "{what}: it happened all the same");
        assert_eq!(row(&engine, "web@1").state, State::Published, "{what}");
        assert!(!home.path().join("approval.yaml").exists(), "{what}");
    }
    raw.execute_batch("DROP TRIGGER no_more").expect("dropped");
    let audit = engine.store().read(|tx| tx.audit(1)).expect("read");
    assert_eq!(
        audit[0].action, "start",
        "nothing was recorded, and nothing done"
    );
    assert_eq!(engine.audit_verify(&[]).expect("read").faults, []);
}

/// Secrets that are given on the way, and what is asked of a guest that may hold some.
fn secrets() {
    const SECRET: &str = "$6$nobody-may-read-this";
    let home = Home::published();
    let engine = home.engine();
    let mut spec = spec();
    spec.personalisation.root_password_hash = Some(SECRET.to_owned());
    spec.personalisation.first_boot_script = Some(format!("#!/bin/sh\necho '{SECRET}'\n"));
    clone(&engine, "app", &spec).expect("cloned");
    engine
        .write_file(&name("app"), "/root/token", SECRET.as_bytes())
        .expect("written");
    engine.start(&name("app")).expect("started");
    let command = GuestCommand {
        argv: vec!["/bin/true".to_owned(), SECRET.to_owned()],
        env: vec![format!("TOKEN={SECRET}")],
        ..GuestCommand::default()
    };
    let streams = Streams {
        stdin: None,
        stdin_first: false,
        stdout: &mut std::io::sink(),
        stderr: &mut std::io::sink(),
        signal: &mut || None,
    };
    let _ = engine.exec(&name("app"), &command, streams);
    let rows = engine.store().read(|tx| tx.audit(u32::MAX)).expect("read");
    assert!(rows.iter().any(|row| row.action == "exec"));
    let told: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    assert!(
        !told.iter().any(|row| row.contains("nobody-may")),
        "{told:?}"
    );
}

fn exec(engine: &Engine) -> Result<(), EngineError> {
    let command = GuestCommand {
        argv: vec!["/bin/true".to_owned()],
        ..GuestCommand::default()
    };
    let streams = Streams {
        stdin: None,
        stdin_first: false,
        stdout: &mut std::io::sink(),
        stderr: &mut std::io::sink(),
        signal: &mut || None,
    };
    engine.exec(&name("app"), &command, streams).map(drop)
}

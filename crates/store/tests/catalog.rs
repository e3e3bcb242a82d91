//! The catalog as several processes see it: uniqueness, isolation, rights, damage.

use stampo_core::goal::CloneKind;
use stampo_core::guest::GuestState;
use stampo_core::hardware::{Hardware, NicLink};
use stampo_core::identity::{FactValue, IdentityFact};
use stampo_core::ids::{GuestId, ImageId, VersionId};
use stampo_core::lifecycle::{Governance, State};
use stampo_core::network::Mac;
use stampo_core::personalisation::Network;
use stampo_core::plan::{GuestPlan, NicPlan};
use stampo_core::size::ByteSize;
use stampo_store::{GuestRow, SALT, Store, StoreError, VersionRow};
use std::path::Path;
use uuid::Uuid;

fn open(dir: &Path) -> Store {
    Store::open(&dir.join("catalog.db")).expect("the catalog opens")
}

fn version(store: &Store) -> VersionRow {
    store
        .write(|tx| {
            let template = tx.ensure_template(&"web".parse().expect("valid"), 1)?;
            let row = VersionRow {
                id: VersionId(Uuid::now_v7()),
                template_id: template.id,
                template: template.name,
                number: tx.last_number(template.id)? + 1,
                state: State::Published,
                image: Some(ImageId::from_bytes([1; 32])),
                virtual_size: ByteSize::gib(2),
                data: ByteSize::mib(500),
                hardware: Hardware::default(),
                origin: serde_json::json!({"kind": "import"}),
                proof: None,
                governance: Governance::default(),
                operation: None,
                created_ms: 1,
                changed_ms: 1,
                verified_ms: None,
            };
            tx.insert_version(&row)?;
            Ok::<_, StoreError>(row)
        })
        .expect("a version")
}

fn guest(version: &VersionRow, name: &str, mac: u8, port: u16) -> GuestRow {
    let id = GuestId(Uuid::new_v4());
    GuestRow {
        id,
        name: name.parse().expect("valid"),
        version: version.id,
        image: version.image.clone().expect("set"),
        kind: CloneKind::Linked,
        state: GuestState::Planned,
        operation: None,
        plan: GuestPlan {
            id,
            name: name.parse().expect("valid"),
            kind: CloneKind::Linked,
            disk_size: ByteSize::gib(2),
            grow: false,
            extra_disks: vec![],
            hardware: Hardware::default(),
            nics: vec![NicPlan {
                mac: Mac::from_random([0, 0, 0, mac]),
                link: NicLink::User,
                ssh_port: Some(port),
                network: Network::Dhcp,
            }],
            generation_id: Uuid::new_v4(),
            disk_guid: Uuid::new_v4(),
            filesystem_uuid: Uuid::new_v4(),
            serial: "stampo-1".into(),
            personalisation: None,
            start: false,
            fork: None,
            fallback: None,
            member: None,
        },
        host_keys: vec![],
        error: None,
        created_ms: 1,
        changed_ms: 1,
        keep_until_ms: None,
    }
}

#[test]
fn rows_come_back_as_they_were_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let version = version(&store);
    let row = guest(&version, "app-1", 1, 22_001);
    store.write(|tx| tx.insert_guest(&row)).expect("inserted");
    let (versions, guests) = open(dir.path())
        .read(|tx| Ok::<_, StoreError>((tx.versions()?, tx.guests()?)))
        .expect("read by another connection");
    assert_eq!(versions, [version]);
    assert_eq!(guests, [row]);
}

#[test]
fn guests_and_readers_are_counted_as_they_are_listed() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let (first, second) = (version(&store), version(&store));
    let mut full = guest(&second, "c", 3, 22_003);
    (full.kind, full.state) = (CloneKind::Full, GuestState::Ready);
    let rows = [
        guest(&first, "a", 1, 22_001),
        guest(&second, "b", 2, 22_002),
        full,
    ];
    let insert = |tx: &stampo_store::Tx<'_>| rows.iter().try_for_each(|row| tx.insert_guest(row));
    store.write(insert).expect("inserted");
    let check = |tx: &stampo_store::Tx<'_>| {
        let counts = tx.guest_counts()?;
        assert_eq!((counts[&first.id], counts[&second.id]), (1, 2));
        assert_eq!(tx.guest_count(second.id)?, 2);
        assert_eq!(tx.guest_count(VersionId(Uuid::now_v7()))?, 0);
        let image = first.image.as_ref().expect("set");
        let readers = tx.image_readers(image)?;
        assert!(readers.iter().all(GuestRow::reads_image));
        assert_eq!(readers.len(), 2, "a full clone reads no more");
        assert_eq!(tx.ports()?, tx.inventory()?.ports);
        Ok::<_, StoreError>(())
    };
    store.read(check).expect("counted");
}

#[test]
fn names_macs_and_ports_belong_to_one_guest() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let version = version(&store);
    store
        .write(|tx| tx.insert_guest(&guest(&version, "a", 1, 22_001)))
        .expect("the first");
    for (name, mac, port) in [("a", 2, 22_002), ("b", 1, 22_002), ("b", 2, 22_001)] {
        let result = store.write(|tx| tx.insert_guest(&guest(&version, name, mac, port)));
        assert!(
            matches!(result, Err(StoreError::Exists { .. })),
            "{name} {mac} {port}"
        );
    }
    let names = store.read(|tx| tx.inventory()).expect("read").names;
    assert_eq!(names.len(), 1, "a refused guest leaves nothing behind");
}

#[test]
fn eight_processes_worth_of_connections_number_versions_without_gaps() {
    let dir = tempfile::tempdir().expect("a directory");
    open(dir.path());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = open(dir.path());
                for _ in 0..10 {
                    version(&store);
                }
            });
        }
    });
    let versions = open(dir.path()).read(|tx| tx.versions()).expect("read");
    let numbers: Vec<u32> = versions.iter().map(|v| v.number).collect();
    assert_eq!(numbers, (1..=80).rev().collect::<Vec<_>>());
}

#[test]
fn a_failed_transaction_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let version = version(&store);
    let result: Result<(), StoreError> = store.write(|tx| {
        tx.insert_guest(&guest(&version, "a", 1, 22_001))?;
        Err(StoreError::Exists {
            what: "something else".into(),
        })
    });
    assert!(result.is_err());
    assert!(store.read(|tx| tx.guests()).expect("read").is_empty());
}

#[test]
fn only_the_owner_may_read_the_catalog_and_its_salt_is_its_own() {
    use std::os::unix::fs::PermissionsExt;
    let (one, two) = (
        tempfile::tempdir().expect("dir"),
        tempfile::tempdir().expect("dir"),
    );
    let salt = |dir: &Path| {
        open(dir)
            .read(|tx| tx.setting(SALT))
            .expect("read")
            .expect("set")
    };
    let first = salt(one.path());
    assert_eq!(first.len(), 64);
    assert_eq!(salt(one.path()), first, "opening again keeps it");
    assert_ne!(salt(two.path()), first);
    for entry in std::fs::read_dir(one.path()).expect("listed") {
        let mode = entry
            .expect("entry")
            .metadata()
            .expect("metadata")
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "{mode:o}");
    }
}

#[test]
fn who_holds_a_value_is_found_by_item_and_hash() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let version = version(&store);
    let fact = |hash: &str| IdentityFact {
        item: "machine-id".into(),
        location: "/etc/machine-id".into(),
        value: FactValue::Present(hash.into()),
    };
    let (a, b, c) = (
        guest(&version, "a", 1, 1),
        guest(&version, "b", 2, 2),
        guest(&version, "c", 3, 3),
    );
    let holders = store
        .write(|tx| {
            for (row, hash) in [(&a, "same"), (&b, "same"), (&c, "other")] {
                tx.insert_guest(row)?;
                tx.put_facts(row.id, &[fact(hash)])?;
            }
            tx.holders(a.id, &[fact("same")])
        })
        .expect("asked");
    let names: Vec<&str> = holders.values().flatten().map(|n| n.as_str()).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn a_newer_catalog_is_refused_and_a_damaged_row_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    version(&store);
    let raw = rusqlite::Connection::open(dir.path().join("catalog.db")).expect("opens");
    // Without the trigger that keeps the row's checksum, as rot would.
    raw.execute_batch("DROP TRIGGER versions_updated; UPDATE versions SET state = 'melted'")
        .expect("written");
    let error = store
        .read(|tx| tx.versions())
        .expect_err("damage is an error")
        .to_string();
    assert!(
        error.contains("state") && error.contains("melted"),
        "{error}"
    );
    raw.pragma_update(None, "user_version", 999).expect("set");
    let result = Store::open(&dir.path().join("catalog.db"));
    assert!(matches!(result, Err(StoreError::TooNew { found: 999, .. })));
}

#[test]
fn integrity_is_checked_for_real() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    {
        let store = open(dir.path());
        let version = version(&store);
        for n in 0..200 {
            store
                .write(|tx| tx.insert_guest(&guest(&version, &format!("g{n}"), n, u16::from(n))))
                .expect("inserted");
        }
        assert!(store.check_integrity().expect("checked").is_empty());
    }
    let mut bytes = std::fs::read(&path).expect("read");
    let page = bytes.len() / 2 / 4096 * 4096;
    bytes[page..page + 512].fill(0xFF);
    std::fs::write(&path, bytes).expect("written");
    let found = Store::open(&path).and_then(|store| store.check_integrity());
    assert!(
        !matches!(found, Ok(ref faults) if faults.is_empty()),
        "damage must be found"
    );
}

/// Flips one bit of the only place in the file that holds `needle`.
fn flip_in_file(path: &Path, needle: &str) {
    let mut bytes = std::fs::read(path).expect("read");
    let places: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(needle.as_bytes()))
        .collect();
    assert_eq!(places.len(), 1, "{needle} is there once");
    bytes[places[0] + 3] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

fn audited(store: &Store, detail: &str) {
    let entry = stampo_store::AuditEntry {
        actor: "local:test",
        action: "publish",
        resource: "web@1",
        outcome: "ok",
        detail,
    };
    store
        .write(|tx| tx.insert_audit(&entry, 1))
        .expect("recorded");
}

#[test]
fn a_changed_letter_that_sqlite_can_not_see_is_found_and_kept_once_it_is_known() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    {
        let store = open(dir.path());
        audited(&store, "before");
        audited(&store, "needle");
        store.checkpoint().expect("one file");
        assert_eq!(store.read(|tx| tx.damaged_rows()).expect("read"), []);
    }
    flip_in_file(&path, "needle");
    let store = open(dir.path());
    assert_eq!(store.check_integrity().expect("checked"), [""; 0]);
    let damaged = store.read(|tx| tx.damaged_rows()).expect("read");
    assert_eq!(damaged.len(), 1);
    assert_eq!((damaged[0].table.as_str(), damaged[0].rowid), ("audit", 2));
    assert_eq!(damaged[0].key, ["2"]);
    store
        .write(|tx| tx.keep_damaged_row(&damaged[0]))
        .expect("kept");
    assert_eq!(store.read(|tx| tx.damaged_rows()).expect("read"), []);
}

#[test]
fn a_changed_schema_is_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    {
        let store = open(dir.path());
        store.checkpoint().expect("one file");
        store.trust().expect("sound");
    }
    let whole = std::fs::read(&path).expect("read");
    let is_found = || {
        let found = Store::open(&path).and_then(|store| store.trust());
        found.is_err_and(|error| error.is_damage())
    };
    flip_in_file(&path, "cancel INTEGER NOT NULL DEFAULT 0");
    assert!(is_found());

    // The word "table" becomes a blob: five types before it, where 23 is a text of five bytes and
    // 22 a blob of five (https://www.sqlite.org/fileformat2.html, section 2.1).
    let mut bytes = whole;
    let row = b"tableexceptionsexceptions";
    let at = bytes.windows(row.len()).position(|part| part == row);
    let at = at.expect("the row of the table") - 6;
    assert_eq!(bytes[at], 23);
    bytes[at] = 22;
    std::fs::write(&path, bytes).expect("written");
    assert!(is_found(), "a table that no query for tables finds");
}

#[test]
fn a_catalog_of_before_gets_its_checksums() {
    let dir = tempfile::tempdir().expect("a directory");
    let row = {
        let store = open(dir.path());
        audited(&store, "old");
        version(&store)
    };
    let raw = rusqlite::Connection::open(dir.path().join("catalog.db")).expect("opens");
    let tables: Vec<String> = raw
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .and_then(|mut found| found.query_map([], |row| row.get(0))?.collect())
        .expect("tables");
    const LATER: [&str; 11] = [
        "scrubs",
        "pools",
        "leases",
        "channels",
        "channel_moves",
        "policy_inputs",
        "policy_reports",
        "policy_exceptions",
        "approvals",
        "policy_decisions",
        "audit_checkpoints",
    ];
    let before = tables
        .iter()
        .filter(|table| !LATER.contains(&table.as_str()));
    for table in before {
        raw.execute_batch(&format!(
            "DROP TRIGGER {table}_inserted; DROP TRIGGER {table}_updated;
             ALTER TABLE {table} DROP COLUMN row_sum;"
        ))
        .expect("as before");
    }
    raw.execute_batch(
        "DROP TABLE scrubs; DROP TABLE pools; DROP TABLE leases; DROP TABLE channels;
         DROP TABLE channel_moves; DROP TABLE policy_inputs; DROP TABLE policy_reports;
         DROP TABLE policy_exceptions; DROP TABLE approvals; DROP INDEX audit_resource;
         DROP TABLE policy_decisions;
         DROP TABLE audit_checkpoints; ALTER TABLE audit DROP COLUMN link;
         DROP INDEX versions_due;
         ALTER TABLE versions DROP COLUMN governance; ALTER TABLE versions DROP COLUMN due_ms;
         DROP INDEX guests_version; DROP INDEX guests_pooled; PRAGMA user_version = 2;",
    )
    .expect("as before");
    drop(raw);
    let store = open(dir.path());
    store.trust().expect("sound, with the schema of a new one");
    assert_eq!(store.read(|tx| tx.damaged_rows()).expect("read"), []);
    assert_eq!(store.read(|tx| tx.versions()).expect("read"), [row]);
}

#[test]
fn every_way_of_writing_keeps_the_checksums() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path());
    let version = version(&store);
    let mut row = guest(&version, "a", 1, 22_001);
    let image = ImageId::from_bytes([1; 32]);
    store
        .write(|tx| {
            tx.insert_guest(&row)?;
            row.error = Some("changed".to_owned());
            tx.update_guest(&row)?;
            tx.replace_nics(&row)?;
            tx.keep_host_name(row.id, &row.name)?;
            tx.keep_host_name(row.id, &row.name)?;
            tx.set_setting("a", "b")?;
            tx.set_setting("a", "c")?;
            tx.put_scrub(&image, 1)?;
            tx.put_scrub(&image, 2)
        })
        .expect("written");
    assert_eq!(store.read(|tx| tx.damaged_rows()).expect("read"), []);
    assert_eq!(store.read(|tx| tx.scrubs()).expect("read")[&image], 2);
}

/// Whoever keeps a catalog open for long must know when it is another one's turn.
#[test]
fn a_catalog_that_was_replaced_or_taken_over_is_not_current() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("catalog.db");
    let store = Store::open(&path).expect("opened");
    assert!(store.is_current().expect("asked"));
    std::fs::rename(&path, dir.path().join("aside")).expect("moved");
    assert!(!store.is_current().expect("asked"), "there is none");
    let other = Store::open(&path).expect("opened");
    assert!(!store.is_current().expect("asked"), "it is another");
    assert!(other.is_current().expect("asked"));
    let newer = rusqlite::Connection::open(&path).expect("opened");
    newer
        .pragma_update(None, "user_version", 10_000)
        .expect("written");
    assert!(!other.is_current().expect("asked"), "a newer stampo has it");
}

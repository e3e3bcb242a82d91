//! Pools and leases as they are written and read back.

use stampo_core::ids::{GuestId, VersionId};
use stampo_core::lease::{Ending, Lease, Span};
use stampo_core::plan::CloneSpec;
use stampo_core::pool::{Depth, Pool};
use stampo_store::{ChannelRow, LeaseRow, PoolRow, Store, StoreError};
use uuid::Uuid;

fn pool(name: &str) -> PoolRow {
    PoolRow {
        pool: Pool {
            name: name.parse().expect("a name"),
            from: "web@3".parse().expect("a reference"),
            warm: 8,
            depth: Depth::Loaded,
            spec: CloneSpec {
                domain: Some("ci.example".to_owned()),
                ..CloneSpec::default()
            },
            generation: 2,
        },
        next_member: 17,
        error: None,
        created_ms: 1,
        changed_ms: 2,
    }
}

#[test]
fn pools_come_back_as_they_were_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("catalog.db")).expect("opens");
    let mut rows = [pool("ci"), pool("build")];
    let all = |store: &Store| store.read(|tx| tx.pools()).expect("read");
    store
        .write(|tx| rows.iter().try_for_each(|row| tx.insert_pool(row)))
        .expect("inserted");
    assert_eq!(all(&store), [rows[1].clone(), rows[0].clone()], "by name");
    let twice = store.write(|tx| tx.insert_pool(&rows[0]));
    assert!(matches!(twice, Err(StoreError::Exists { .. })));

    rows[0].pool.warm = 0;
    rows[0].pool.depth = Depth::Warm;
    rows[0].error = Some("no memory".to_owned());
    rows[0].next_member = 18;
    store
        .write(|tx| {
            tx.update_pool(&rows[0])?;
            tx.delete_pool(&rows[1].pool.name)
        })
        .expect("changed");
    assert_eq!(all(&store), [rows[0].clone()]);
    let damaged = store.read(|tx| tx.damaged_rows()).expect("checked");
    assert_eq!(damaged, [], "every row has its checksum");
}

#[test]
fn a_channel_is_of_a_version() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("catalog.db")).expect("opens");
    let template = store
        .write(|tx| tx.ensure_template(&"web".parse().expect("a name"), 1))
        .expect("a template");
    let row = ChannelRow {
        template_id: template.id,
        template: template.name,
        name: "stable".parse().expect("a name"),
        version: VersionId(Uuid::from_u128(7)),
        moved_ms: 1,
    };
    let of_nothing = store.write(|tx| tx.put_channel(&row));
    assert!(of_nothing.is_err(), "there is no such version");
    let left = store.read(|tx| tx.channels()).expect("read");
    assert_eq!(left, []);
}

#[test]
fn a_lease_is_of_a_guest() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("catalog.db")).expect("opens");
    let lease = LeaseRow {
        lease: Lease {
            guest: GuestId(Uuid::from_u128(7)),
            until_ms: 900,
            span: Span::of_seconds(900),
            warned: false,
            ending: Ending::Remove,
        },
        tied_to: Some("{}".to_owned()),
    };
    let of_nobody = store.write(|tx| tx.put_lease(&lease));
    assert!(of_nobody.is_err(), "there is no such guest");
    let left = store.read(|tx| tx.has_leases()).expect("read");
    assert!(!left);
}

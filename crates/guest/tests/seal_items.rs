//! Every row of the sealing table, every path of it: on a guest that has the thing, the plan
//! changes or tells it, applying does what the plan says, and a second sealing finds nothing.

use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{FileKind, FsError, GuestRead, Owner};
use stampo_guest::seal::{Action, SealItem, Selection, State, apply, items, plan};

/// One concrete path for a pattern.
fn example(pattern: &str) -> String {
    let home = pattern.replacen('~', "/home/ann", 1);
    let ranges = home
        .replace("20[0-9][0-9][0-9][0-9][0-9][0-9]", "20260102")
        .replace("[0-9]", "1");
    ranges
        .replace("**", "one/two")
        .replace('*', "x")
        .replace('?', "y")
}

/// Content that the row has something to do with.
fn content(item: &SealItem) -> &'static str {
    match item.id {
        "hosts" => "127.0.0.1 localhost\n127.0.1.1 web\n",
        "sysconfig-hostname" => "HOSTNAME=web\nGATEWAY=10.0.0.1\n",
        "machine-info" => "PRETTY_HOSTNAME=\"Web\"\nCHASSIS=vm\n",
        "boot-entries" => "machine-id 0123456789abcdef0123456789abcdef\n",
        "mdadm-homehost" => "HOMEHOST web\n",
        "nfs4-client-id" => "options nfs nfs4_unique_id=abc\n",
        "crypttab" => "data UUID=1 none\n",
        "interfaces-mac" => "iface eth0 inet dhcp\n hwaddress 52:54:00:aa:bb:cc\n",
        "netplan-mac" => "a:\n  match:\n    macaddress: 52:54:00:aa:bb:cc\n",
        "netplan-macs" => "a: {match: {macaddress: 52:54:00:aa:bb:cc}}\n",
        "networkmanager-mac" => "[ethernet]\nmac-address=52:54:00:AA:BB:CC\n",
        "ifcfg-mac" => "HWADDR=52:54:00:aa:bb:cc\nDEVICE=eth0\n",
        "networkd-mac" | "link-files" => "[Match]\nMACAddress=52:54:00:aa:bb:cc\n[Link]\n",
        "static-address" => "iface eth0 inet static\n",
        "puppet-certname" => "[main]\ncertname = web\n",
        "chef-node-name" => "node_name 'web'\n",
        "zabbix-hostname" => "Hostname=web\n",
        "datadog-newrelic" => "hostname: web\ndisplay_name: web\n",
        "popularity-contest" => "MY_HOSTID=\"0123\"\nPARTICIPATE=\"yes\"\n",
        "libvirt-host-uuid" => "host_uuid = \"0\"\n",
        "postfix-name" => "myhostname = web\n",
        "exim-name" => "dc_other_hostnames='web;b'\n",
        "samba-name" => "[global]\nnetbios name = WEB\n",
        "root-password" => "root:$6$salt$hash:1:::::\n",
        "user-passwords" => "root:*:1\nann:$6$salt$hash:1:::::\n",
        _ => "0123456789abcdef0123456789abcdef\n",
    }
}

/// A guest with the thing at `path`, with an owner that can be told from the default.
fn guest(item: &SealItem, path: &str) -> TreeFixture {
    let mut tree = TreeFixture::new()
        .file("/etc/hostname", "web\n")
        .dir("/home/ann");
    if let Some(need) = item
        .needs
        .iter()
        .find(|need| **need != path && **need != "/etc/hostname")
    {
        tree = tree.file(need, "");
    }
    match item.action {
        Action::RemoveLinkTo(target) => tree.link(path, target),
        _ => tree.file_as(
            path,
            content(item),
            Owner {
                uid: 7,
                gid: 8,
                mode: 0o604,
            },
        ),
    }
}

/// Only this row, so that no other one takes the path.
fn only(item: &SealItem) -> Selection {
    Selection {
        only: vec![item.id.into()],
        except: vec!["first-boot-unit".into()],
        ..Selection::default()
    }
}

#[test]
fn every_row_does_what_it_says_and_does_it_once() {
    let mut checked = 0;
    for (_, item) in items() {
        for pattern in item.paths {
            let path = example(pattern);
            let mut tree = guest(item, &path);
            let context = format!("{} at {path}", item.id);
            let first = plan(&tree, &only(item)).expect(&context);
            match item.action {
                Action::Keep => assert!(first.is_empty() && first.notices.is_empty(), "{context}"),
                Action::Notice(..) => {
                    assert!(first.is_empty(), "{context}: a notice changes nothing");
                    assert!(
                        first
                            .notices
                            .iter()
                            .any(|n| n.path == path && n.item == item.id),
                        "{context}"
                    );
                }
                _ => {
                    let named = |c: &&stampo_guest::seal::Change| {
                        c.item == item.id && path.starts_with(&c.path)
                    };
                    assert_eq!(
                        first.changes.iter().filter(named).count(),
                        1,
                        "{context}: {first}"
                    );
                    apply(&mut tree, &first).expect(&context);
                    check_after(item, &tree, &path);
                    let second = plan(&tree, &only(item)).expect(&context);
                    assert!(second.is_empty(), "{context}, sealed twice: {second}");
                }
            }
            checked += 1;
        }
    }
    assert!(checked > 300, "only {checked} paths");
}

/// What must be at a path after its row was applied.
fn check_after(item: &SealItem, tree: &TreeFixture, path: &str) {
    let context = format!("{} at {path}", item.id);
    match item.action {
        Action::Remove | Action::RemoveLinkTo(_) | Action::Regenerate(_) => {
            assert!(
                !tree.exists(path).expect(&context),
                "{context} must be gone"
            );
        }
        Action::Empty => assert_eq!(tree.read(path, 9).expect(&context), b"", "{context}"),
        Action::Ensure { content, .. } => {
            assert_eq!(
                tree.read(path, 99).expect(&context),
                content.as_bytes(),
                "{context}"
            );
        }
        Action::Link(target) => {
            assert_eq!(tree.read_link(path).expect(&context), target.as_bytes())
        }
        Action::Rewrite(_) => match tree.read(path, 1 << 16) {
            Ok(after) => assert_ne!(after, content(item).as_bytes(), "{context}"),
            Err(FsError::NotFound { .. }) => assert_eq!(item.id, "link-files"),
            Err(error) => panic!("{context}: {error}"),
        },
        Action::Keep | Action::Notice(..) => unreachable!("they change nothing"),
    }
    if let Ok(metadata) = tree.metadata(path)
        && metadata.kind == FileKind::File
    {
        let owner = (metadata.uid, metadata.gid, metadata.mode);
        assert_eq!(
            owner,
            (7, 8, 0o604),
            "{context} must keep its owner and mode"
        );
    }
}

#[test]
fn a_row_that_does_not_match_does_nothing() {
    let tree = TreeFixture::new()
        .file("/etc/hostname", "localhost\n")
        .file("/etc/machine-id", "")
        .dir("/var/log");
    // The agent is no row, and says why this guest does not get it.
    let rows = Selection {
        except: vec!["guest-agent".to_owned()],
        ..Selection::default()
    };
    let nothing = plan(&tree, &rows).expect("a small guest");
    assert!(
        nothing.is_empty() && nothing.skipped.is_empty() && nothing.notices.is_empty(),
        "{nothing}"
    );
}

#[test]
fn a_missing_machine_id_is_made_for_systemd_and_for_nobody_else() {
    let mut tree = TreeFixture::new()
        .file("/usr/lib/systemd/systemd", "")
        .dir("/etc");
    let planned = plan(&tree, &Selection::default()).expect("a small guest");
    assert_eq!(planned.changes.len(), 1, "{planned}");
    assert_eq!(planned.changes[0].before, State::Absent);
    apply(&mut tree, &planned).expect("applies");
    let metadata = tree.metadata("/etc/machine-id").expect("made");
    assert_eq!((metadata.size_bytes, metadata.mode), (0, 0o444));
    let other = TreeFixture::new().dir("/etc").dir("/sbin");
    assert!(
        plan(&other, &Selection::default())
            .expect("a small guest")
            .is_empty()
    );
}

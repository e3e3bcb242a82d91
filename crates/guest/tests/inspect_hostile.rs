//! No content of a guest makes an inspection or a proof panic, hang, or keep without limit.

use proptest::prelude::*;
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::inspect::look::{MAX_VALUE_BYTES, clip};
use stampo_guest::inspect::network::{ifupdown, keyfile, mac_in, netplan};
use stampo_guest::inspect::yaml::Yaml;
use stampo_guest::inspect::{
    apk, boot, cloud_init, dpkg, fstab, inspect_tree, os, sshd, sudoers, users,
};
use stampo_guest::seal::proof::{Test, checks, prove};

/// Gives `text` to every parser.
fn parse_all(text: &str) {
    os::parse(text);
    os::machine(text.as_bytes());
    dpkg::parse(text);
    apk::parse(text);
    users::parse_passwd(text, Some(&users::parse_shadow(text)));
    users::parse_group(text);
    users::password(text);
    ifupdown::parse(text);
    keyfile::networkd(text);
    keyfile::network_manager(text);
    keyfile::ifcfg(text);
    let _ = netplan::parse(text);
    let _ = cloud_init::datasource_list(text);
    let _ = Yaml::parse(text);
    mac_in(text);
    boot::parse_grub(text);
    boot::parse_entry(text);
    boot::parse_extlinux(text);
    fstab::parse(text);
    sudoers::parse(text);
    sshd::keyword_and_value(text);
    for check in checks() {
        match check.test {
            Test::Text(sees) => drop(sees(text)),
            Test::Name(sees) => drop(sees(text)),
            _ => {}
        }
    }
}

/// Pieces that the formats are made of, and some that they are not.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "iface",
        "eth0",
        "inet",
        "static",
        "address",
        "hwaddress",
        "52:54:00:aa:bb:cc",
        "network:",
        "ethernets:",
        "  ",
        "\n",
        "\t",
        "=",
        ":",
        "[Match]",
        "MACAddress=",
        "Package:",
        "Status:",
        "root:",
        "$6$",
        "!",
        "*",
        "\\\n",
        "\\",
        "\"",
        "'",
        "Include",
        "Match",
        "linux",
        "S01",
        "&a",
        "*a",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "\0",
        "é",
        "\u{202e}",
        "://",
        "@",
        "password",
        "é:é@é",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        parse_all(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn random_pieces_never_panic(pieces in prop::collection::vec(piece(), 0..80)) {
        parse_all(&pieces.concat());
    }

    #[test]
    fn a_kept_value_is_short_and_plain(text in any::<String>(), times in 1usize..300) {
        let kept = clip(&text.repeat(times));
        prop_assert!(kept.len() <= MAX_VALUE_BYTES + '…'.len_utf8());
        prop_assert!(!kept.chars().any(char::is_control));
    }
}

/// Every file that an inspection reads, with this content.
fn tree_of(content: &[u8]) -> TreeFixture {
    let mut tree = TreeFixture::new();
    for path in [
        "/etc/os-release",
        "/bin/sh",
        "/var/lib/dpkg/status",
        "/var/lib/dpkg/status.d/x",
        "/etc/passwd",
        "/etc/shadow",
        "/etc/group",
        "/etc/hostname",
        "/etc/timezone",
        "/etc/default/locale",
        "/etc/network/interfaces",
        "/etc/netplan/1.yaml",
        "/etc/systemd/network/1.network",
        "/etc/NetworkManager/system-connections/x",
        "/etc/ssh/sshd_config",
        "/etc/sudoers",
        "/etc/fstab",
        "/boot/grub/grub.cfg",
        "/boot/loader/entries/x.conf",
        "/etc/default/grub",
        "/etc/cloud/cloud.cfg",
    ] {
        tree = tree.file(path, content);
    }
    tree
}

#[test]
fn whole_guests_of_nonsense_are_looked_at() {
    let long_line = vec![b'a'; 900_000];
    let many_lines = b"a:b:1:2:c:d:e\n".repeat(60_000);
    let includes = b"Include /etc/ssh/sshd_config\n".repeat(1000);
    let nothing: &[u8] = &[0; 4096];
    let invalid: &[u8] = &[0xff; 4096];
    for content in [nothing, invalid, &long_line, &many_lines, &includes] {
        let tree = tree_of(content);
        let inspection = inspect_tree(&tree);
        let said = serde_json::to_string(&inspection).expect("it can be written");
        assert!(said.len() < 8 << 20, "{} bytes are kept", said.len());
        prove(&tree, "fixture");
    }
}

#[test]
fn files_of_the_wrong_kind_are_unknown() {
    let tree = TreeFixture::new()
        .dir("/etc/os-release")
        .special("/etc/passwd")
        .link("/etc/shadow", "/etc/shadow")
        .link("/var/lib/dpkg/status", "../../../../../../etc/group")
        .file("/etc/group", "wheel:x:10:\n")
        .file("/etc/hosts", "")
        .damaged("/etc/hosts")
        .file("/etc/fstab", vec![b'#'; 2 << 20]);
    let inspection = inspect_tree(&tree);
    assert_eq!(inspection.os, None);
    assert!(inspection.users.is_empty());
    let unknown = |path: &str| {
        inspection
            .unknowns
            .iter()
            .any(|text| text.starts_with(path))
    };
    for path in ["/etc/os-release", "/etc/passwd", "/etc/fstab", "/etc/hosts"] {
        assert!(
            unknown(path),
            "{path} is not among {:?}",
            inspection.unknowns
        );
    }
}

#[test]
fn a_hundred_levels_and_a_loop_are_walked() {
    let deep = "/d".repeat(120);
    let tree = TreeFixture::new()
        .file(&format!("/srv{deep}/f"), "x")
        .link("/srv/loop", "/srv");
    let inspection = inspect_tree(&tree);
    assert_eq!(
        (inspection.contents.files, inspection.contents.symlinks),
        (1, 1)
    );
    let too_deep = TreeFixture::new().dir(&"/e".repeat(254));
    assert!(inspect_tree(&too_deep).contents.directories >= 250);
}

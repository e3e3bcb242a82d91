//! Every row of the proof's table finds what it is for, and leaves alone what is clean.
//!
//! A row that only asks whether something is there is tested at every one of its paths. A row
//! that reads text has a bad and a good sample here; a row without a sample fails.

use stampo_guest::fs::Owner;
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::seal::proof::{Check, Proof, Test, checks, prove};

const MAC: &str = "52:54:00:ab:cd:ef";

/// `(row, bad text or name, good text or name)`.
#[rustfmt::skip]
const SAMPLES: &[(&str, &str, &str)] = &[
    ("system.machine-id", "b08dfa6083e7567a1921a715000001fb\n", "uninitialized\n"),
    ("system.hostname", "build-vm-7\n", "localhost\n"),
    ("system.hosts", "127.0.0.1 localhost\n127.0.1.1 build.example.org build\n", "127.0.0.1 localhost\n::1 ip6-localhost\n10.0.0.5 db.example.org\n"),
    ("system.boot-entries", "b08dfa6083e7567a1921a715000001fb-6.1.0-9.conf", "debian-6.1.0-9.conf"),
    ("system.entry-token", "b08dfa6083e7567a1921a715000001fb\n", "debian\n"),
    ("storage.iscsi-initiator", "InitiatorName=iqn.1993-08.org.debian:01:abc\n", "GenerateName=yes\n"),
    ("storage.multipath", "# comment\n/3600508b4/\n", "# Multipath wwids, Version : 1.0\n"),
    ("net.mac.interfaces", "iface eth0 inet dhcp\n hwaddress ether 52:54:00:ab:cd:ef\n", "auto lo\niface lo inet loopback\niface eth0 inet dhcp\n"),
    ("net.mac.netplan", "network:\n  ethernets:\n    e0:\n      match: {macaddress: '52:54:00:ab:cd:ef'}\n", "network:\n  ethernets:\n    e0: {dhcp4: true}\n"),
    ("net.mac.networkd", "[Match]\nMACAddress=52:54:00:ab:cd:ef\n", "[Match]\nName=en*\n[Network]\nDHCP=yes\n"),
    ("net.mac.networkmanager", "[ethernet]\nmac-address=52:54:00:AB:CD:EF\n", "[connection]\nid=wired\n"),
    ("net.mac.ifcfg", "DEVICE=eth0\nHWADDR=52:54:00:ab:cd:ef\n", "DEVICE=eth0\nBOOTPROTO=dhcp\n"),
    ("net.static.interfaces", "iface eth0 inet static\n  address 192.0.2.7/24\n", "iface lo inet loopback\n address 127.0.0.1\niface eth0 inet dhcp\n"),
    ("net.static.netplan", "network: {ethernets: {e0: {addresses: [192.0.2.7/24]}}}\n", "network: {ethernets: {e0: {dhcp4: yes}}}\n"),
    ("net.static.networkd", "[Match]\nName=e0\n[Network]\nAddress=192.0.2.7/24\n", "[Network]\nDHCP=ipv4\n"),
    ("net.static.networkmanager", "[ipv4]\nmethod=manual\naddress1=192.0.2.7/24,192.0.2.1\n", "[ipv4]\nmethod=auto\n"),
    ("net.static.ifcfg", "DEVICE=eth0\nIPADDR=192.0.2.7\n", "DEVICE=eth0\nBOOTPROTO=dhcp\n"),
    ("net.name-servers", "nameserver 192.0.2.53\n", "# none\nnameserver 127.0.0.53\n"),
    ("net.connection-secrets", "[wifi-security]\npsk=abcdefgh\n", "[wifi-security]\nkey-mgmt=wpa-psk\npsk=\n"),
    ("net.wireguard", "[Interface]\nPrivateKey = aGVsbG8=\n", "[Interface]\nAddress = 192.0.2.7\n"),
    ("net.vpn-keys", "line of a key\n", "# no key here\n"),
    ("net.ppp-secrets", "user * secret *\n", "# client server secret\n"),
    ("agent.puppet-name", "[main]\ncertname = build\n", "[main]\nserver = puppet.example.org\n"),
    ("agent.zabbix-name", "Hostname=build-vm\n", "Server=192.0.2.1\nHostname=Zabbix server\n"),
    ("agent.monitoring-name", "hostname: build-vm\n", "# hostname: x\nsite: example\n"),
    ("agent.monitoring-key", "api_key: 0123456789abcdef\n", "# api_key: x\nsite: example\n"),
    ("register.landscape-name", "[client]\ncomputer_title = build\n", "[client]\nlog_level = info\n"),
    ("register.popcon", "MY_HOSTID=\"0123\"\n", "MY_HOSTID=\"\"\nPARTICIPATE=\"no\"\n"),
    ("ci.gitlab-runner", "[[runners]]\n  token = \"abc\"\n", "concurrent = 1\n"),
    ("virt.libvirt-host", "host_uuid = \"00000000-1111-2222-3333-444444444444\"\n", "#host_uuid = \"0\"\n"),
    ("mail.mailname", "build.example.org\n", "localhost\n"),
    ("mail.postfix", "myhostname = build.example.org\n", "mydestination = $myhostname, localhost\nrelayhost =\n"),
    ("mail.postfix-passwords", "[smtp.example.org] user:password\n", "# none\n*:\n"),
    ("boot.grub-password", "set superusers=root\npassword_pbkdf2 root grub.pbkdf2.sha512.1\n", "set timeout=5\n"),
    ("password.hash", "anna:$6$salt$hash:19000:0:99999:7:::\n", "root:*:19000:0:99999:7:::\nanna:!:1::::::\n"),
    ("password.empty", "anna::19000:0:99999:7:::\n", "root:*:19000:0:99999:7:::\n"),
    ("password.debconf", "Name: x/password\nValue: secret\n", "Name: x/password\nTemplate: y\nValue: \n"),
    ("ssh.authorized-keys", "ssh-ed25519 AAAA anna\n", "# nobody\n"),
    ("ssh.user-keys", "id_rsa", "id_rsa.pub"),
    ("cred.docker", "{\"auths\":{\"r.example\":{\"auth\":\"YTpi\"}}}", "{\n\"auths\": {}\n}\n"),
    ("cred.netrc", "machine a login b password c\n", "machine a login b\n"),
    ("cred.packages", "//registry.example/:_authToken=abc\n", "registry=https://registry.example\n"),
    ("cred.databases", "db:5432:app:app:secret\n", "[client]\nsocket=/run/mysqld.sock\n"),
    ("cred.samba", "username=a\npassword=b\n", "# none\n"),
    ("cred.urls", "deb https://user:secret@apt.example.org bookworm main\n", "deb https://apt.example.org bookworm main\n"),
];

fn sample(check: &Check) -> (&'static str, &'static str) {
    let found = SAMPLES.iter().find(|(id, ..)| *id == check.id);
    let (_, bad, good) = found.unwrap_or_else(|| panic!("{} has no sample", check.id));
    (bad, good)
}

/// One path for a pattern; a `*` that is a whole name becomes `name`.
fn instances(pattern: &str, name: &str) -> Vec<String> {
    let homes = match pattern.starts_with('~') {
        true => vec!["/root", "/home/anna", "/srv/people/otto"],
        false => vec![""],
    };
    let below = pattern.trim_start_matches('~');
    let place = |part: &str| match part {
        "**" => "sub/deeper".to_owned(),
        "*" => name.to_owned(),
        part => part.replace('*', "1"),
    };
    let path = below.split('/').map(place).collect::<Vec<_>>().join("/");
    homes.iter().map(|home| format!("{home}{path}")).collect()
}

/// A guest that is clean, with an account whose home is at an unusual place.
fn clean() -> TreeFixture {
    TreeFixture::new()
        .file(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\notto:x:9:9::/srv/people/otto:/bin/sh\n",
        )
        .file(
            "/etc/shadow",
            "root:*:19000:0:99999:7:::\notto:!:19000::::::\n",
        )
        .file("/etc/machine-id", "")
        .file("/etc/hostname", "localhost\n")
        .file("/etc/hosts", "127.0.0.1 localhost\n")
        .file("/etc/ssh/sshd_config", "PermitRootLogin no\n")
        .file(
            "/etc/ssl/certs/ca.pem",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        )
        .file(
            "/etc/network/interfaces",
            "auto lo\niface lo inet loopback\n",
        )
        .file("/etc/os-release", "ID=debian\n")
        .file("/root/.bashrc", "alias ll='ls -l'\n")
        .file_as(
            "/var/log/wtmp",
            "",
            Owner {
                uid: 0,
                gid: 43,
                mode: 0o664,
            },
        )
        .file("/var/lib/apt/lists/lock", "")
        .link("/var/lib/dbus/machine-id", "/etc/machine-id")
        .dir("/home/anna/.ssh")
        .dir("/tmp/empty")
        .dir("/var/lib/docker")
}

fn ids_at<'p>(proof: &'p Proof, path: &str) -> Vec<&'p str> {
    let at = proof.findings.iter().filter(|finding| finding.path == path);
    at.map(|finding| finding.id.as_str()).collect()
}

#[test]
fn a_clean_guest_is_proven() {
    let proof = prove(&clean(), "fixture");
    assert_eq!(proof.findings, []);
    assert_eq!(proof.unknown, []);
    assert!(proof.is_proven(&[]));
    let looked = proof
        .checked
        .iter()
        .find(|checked| checked.id == "system.machine-id");
    assert_eq!(looked.map(|checked| checked.entries), Some(1));
}

#[test]
fn ids_are_unique_and_every_row_is_complete() {
    let mut ids: Vec<&str> = checks().map(|check| check.id).collect();
    assert!(ids.len() > 120, "only {} rows", ids.len());
    ids.sort_unstable();
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]));
    for check in checks() {
        assert!(
            !check.what.is_empty() && !check.remedy.is_empty(),
            "{}",
            check.id
        );
        let is_path = |path: &&str| path.starts_with('/') || path.starts_with("~/");
        assert!(check.paths.iter().all(is_path), "{}", check.id);
    }
}

#[test]
fn every_row_finds_what_it_is_for_at_every_path() {
    for check in checks() {
        let (content, name) = match check.test {
            Test::Text(_) => (sample(check).0, "name1"),
            Test::Name(_) => ("x", sample(check).0),
            _ => ("x", "name1"),
        };
        for path in check
            .paths
            .iter()
            .flat_map(|pattern| instances(pattern, name))
        {
            let path = match check.id {
                "ssh.user-keys" => path.replace("id_1", name),
                _ => path,
            };
            let proof = prove(&clean().file(&path, content), "fixture");
            let ids = ids_at(&proof, &path);
            assert!(
                ids.contains(&check.id),
                "{} did not see {path}, only {ids:?}",
                check.id
            );
            assert!(!proof.is_proven(&[]));
        }
    }
}

#[test]
fn every_row_leaves_alone_what_is_clean() {
    for check in checks() {
        let (name, good) = match check.test {
            Test::Text(_) => ("name1", Some(sample(check).1)),
            Test::Name(_) => (sample(check).1, Some("x")),
            Test::Empty => ("name1", Some("")),
            Test::Absent | Test::AbsentOrLink => ("name1", None),
        };
        for path in check
            .paths
            .iter()
            .flat_map(|pattern| instances(pattern, name))
        {
            if check.id == "ssh.user-keys" && !path.ends_with("/id_1") {
                continue; // The other names of that row can't be those of a public key.
            }
            let path = path.replace("id_1", "id_1.pub");
            let tree = match (good, check.test) {
                (Some(good), _) => clean().file(&path, good),
                (None, Test::AbsentOrLink) => clean().link(&path, "/etc/machine-id"),
                (None, _) => clean().dir(&path),
            };
            let proof = prove(&tree, "fixture");
            let ids = ids_at(&proof, &path);
            assert!(
                !ids.contains(&check.id),
                "{} is wrong about {path}",
                check.id
            );
        }
    }
}

#[test]
fn a_finding_never_holds_the_secret() {
    let hash = "$6$saltsalt$abcdefghijklmnopqrstuvwxyz";
    let token = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
    let tree = clean()
        .file("/etc/shadow", format!("anna:{hash}:1::::::\n"))
        .file("/opt/app/settings", format!("token={token}\n"))
        .file("/etc/wireguard/wg0.conf", "PrivateKey = cHJpdmF0ZQ==\n")
        .file(
            "/etc/netplan/1.yaml",
            "network:\n  wifis:\n    w:\n      password: hunter22\n",
        );
    let proof = prove(&tree, "fixture");
    assert!(proof.findings.len() >= 4, "{:?}", proof.findings);
    let said = serde_json::to_string(&proof).expect("a proof can be written");
    for secret in [hash, token, "cHJpdmF0ZQ", "hunter22"] {
        assert!(!said.contains(secret));
    }
    assert!(!said.contains(MAC));
}

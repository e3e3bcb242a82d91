//! Every check has a guest that passes it and one that fails it, and none passes what it can't see.

use crate::guests::{LATER_S, NOW_S, SSHD, good, of, report, report_by};
use stampo_guest::fs::Owner;
use stampo_guest::fs::tree::TreeFixture;
use stampo_policy::{Pack, Subject, Verdict, checks, evaluate, gather_tree};
use std::collections::BTreeSet;

type Change = fn(TreeFixture) -> TreeFixture;

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----\n";
const PASSWD: &str = "/etc/passwd";
const ROOT: &str = "root:x:0:0::/root:/bin/bash\n";
const GRUB: &str = "/boot/grub/grub.cfg";

/// Owner root, group root.
fn mode(mode: u32) -> Owner {
    Owner::root(mode)
}

/// Accounts with these lines besides root.
fn accounts(tree: TreeFixture, passwd: &str, shadow: &str) -> TreeFixture {
    tree.file(PASSWD, format!("{ROOT}{passwd}")).file_as(
        "/etc/shadow",
        format!("root:*:1::::::\n{shadow}"),
        mode(0o640),
    )
}

fn status(tree: TreeFixture, package: &str, state: &str) -> TreeFixture {
    let text =
        format!("Package: {package}\nStatus: install ok {state}\nVersion: 1\nArchitecture: all\n");
    tree.file("/var/lib/dpkg/status", text)
}

/// What makes a check fail when it is the content of this file.
const FILES: &[(&str, &str, &str)] = &[
    (
        "identity.machine-id",
        "/etc/machine-id",
        "0123456789abcdef0123456789abcdef\n",
    ),
    (
        "identity.dbus-machine-id",
        "/var/lib/dbus/machine-id",
        "0123456789abcdef0123456789abcdef\n",
    ),
    ("identity.ssh-host-keys", "/etc/ssh/ssh_host_rsa_key", "x"),
    ("identity.random-seed", "/var/lib/systemd/random-seed", "x"),
    (
        "identity.credential-secret",
        "/var/lib/systemd/credential.secret",
        "x",
    ),
    ("identity.dhcp", "/var/lib/dhcp/dhclient.eth0.leases", "x"),
    (
        "identity.cloud-init",
        "/var/lib/cloud/instances/i-1/obj.pkl",
        "x",
    ),
    (
        "identity.interface-names",
        "/etc/udev/rules.d/70-persistent-net.rules",
        "x",
    ),
    (
        "identity.hardware-address",
        "/etc/netplan/a.yaml",
        "network:\n  ethernets:\n    a:\n      match:\n        macaddress: 52:54:00:12:34:56\n",
    ),
    (
        "identity.static-address",
        "/etc/network/interfaces",
        "iface eth0 inet static\n  address 10.0.0.5/24\n",
    ),
    ("identity.hostname", "/etc/hostname", "web01\n"),
    (
        "identity.storage",
        "/etc/iscsi/initiatorname.iscsi",
        "InitiatorName=iqn.1993-08.org.debian:01:abc\n",
    ),
    (
        "identity.lvm",
        "/etc/lvm/devices/system.devices",
        "IDTYPE=sys_wwid\n",
    ),
    ("identity.agents", "/etc/salt/pki/minion/minion.pem", "x"),
    ("identity.subscriptions", "/etc/pki/consumer/cert.pem", "x"),
    ("identity.domain", "/etc/krb5.keytab", "x"),
    ("identity.clusters", "/etc/docker/key.json", "x"),
    ("identity.databases", "/var/lib/mysql/auto.cnf", "x"),
    ("identity.services", "/etc/mailname", "web01.example.org\n"),
    ("identity.system-ids", "/etc/hostid", "abcd"),
    ("residue.histories", "/root/.bash_history", "ls\n"),
    (
        "residue.journal",
        "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
        "x",
    ),
    ("residue.records", "/var/log/wtmp", "x"),
    ("residue.spools", "/var/spool/mail/root", "x"),
    ("residue.caches", "/root/.cache/x", "x"),
    (
        "secrets.authorized-keys",
        "/root/.ssh/authorized_keys",
        "ssh-ed25519 AAAA x\n",
    ),
    ("secrets.private-keys", "/root/.ssh/id_ed25519", KEY),
    (
        "secrets.tokens",
        "/etc/app.conf",
        "token = ghp_Zx8Kq2Lm9Nr4Ts6Vw1Yb3Cd5Ef7Gh0JkMnPq\n",
    ),
    (
        "secrets.credentials",
        "/root/.aws/credentials",
        "[default]\n",
    ),
    (
        "secrets.networks",
        "/etc/wireguard/wg0.conf",
        "[Interface]\nPrivateKey = qL0ZDkPjSdKyGnmxpSKxNDzHrvAy0mMqtZHBZBxLd2c=\n",
    ),
    (
        "secrets.password-files",
        "/etc/shadow-",
        "root:$6$abc$def:1::::::\n",
    ),
    ("secrets.known-hosts", "/root/.ssh/known_hosts", "x"),
    (
        "secrets.disk-keys",
        "/etc/crypttab",
        "data UUID=1 /etc/data.key luks\n",
    ),
    (
        "accounts.sudo",
        "/etc/sudoers.d/ann",
        "ann ALL=(ALL) NOPASSWD: ALL\n",
    ),
    (
        "accounts.password-age",
        "/etc/login.defs",
        "PASS_MAX_DAYS 99999\n",
    ),
    (
        "ssh.root-login",
        "/etc/ssh/sshd_config",
        "PermitRootLogin yes\nPermitRootLogin no\n",
    ),
    ("ssh.passwords", "/etc/ssh/sshd_config", ""),
    (
        "ssh.empty-passwords",
        "/etc/ssh/sshd_config",
        "PermitEmptyPasswords yes\n",
    ),
    ("ssh.x11", "/etc/ssh/sshd_config", "X11Forwarding yes\n"),
    (
        "ssh.ciphers",
        "/etc/ssh/sshd_config",
        "Ciphers aes256-ctr,aes128-cbc\n",
    ),
    ("ssh.macs", "/etc/ssh/sshd_config", "MACs +hmac-md5\n"),
    ("software.cloud-init", "/etc/cloud/cloud-init.disabled", ""),
    (
        "software.updates",
        "/etc/apt/apt.conf.d/20auto",
        "APT::Periodic::Unattended-Upgrade \"0\";\n",
    ),
    (
        "software.unsigned",
        "/etc/apt/sources.list.d/a.list",
        "deb [trusted=yes] http://a b main\n",
    ),
    (
        "software.security-source",
        "/etc/apt/sources.list",
        "deb http://deb.example/debian trixie main\n",
    ),
    (
        "software.end-of-life",
        "/etc/os-release",
        "ID=debian\nVERSION_ID=\"11\"\n",
    ),
    (
        "software.end-of-maintenance",
        "/etc/os-release",
        "ID=centos\nVERSION_ID=\"7\"\n",
    ),
    ("boot.modules", "/boot/vmlinuz-5.10", "k"),
    ("boot.initrd", "/boot/vmlinuz-5.10", "k"),
    (
        "boot.virtio",
        "/lib/modules/6.12/modules.builtin",
        "kernel/a/virtio_net.ko\n",
    ),
    (
        "boot.fstab",
        "/etc/fstab",
        "/dev/sda1 / ext4 defaults 0 1\n",
    ),
    (
        "boot.root-device",
        GRUB,
        "linux /boot/vmlinuz-6.12 root=/dev/vda1 console=ttyS0\n",
    ),
    (
        "boot.serial-console",
        GRUB,
        "linux /boot/vmlinuz-6.12 root=UUID=1 console=tty0\n",
    ),
    (
        "boot.grub-password",
        GRUB,
        "password_pbkdf2 a grub.pbkdf2.sha512\n",
    ),
    (
        "network.forwarding",
        "/etc/sysctl.d/90.conf",
        "net/ipv4/ip_forward=1\n",
    ),
    (
        "network.name-servers",
        "/etc/resolv.conf",
        "nameserver 10.0.0.1\n",
    ),
    ("network.hosts", "/etc/hosts", "10.0.0.9 db\n"),
    (
        "network.datasources",
        "/etc/cloud/cloud.cfg",
        "datasource_list: [Ec2]\n",
    ),
];

/// What else makes a check fail.
const CHANGES: &[(&str, Change)] = &[
    ("residue.logs", |t| {
        t.file("/var/log/big", vec![b'x'; 2 << 20])
    }),
    // Directories are left over as well.
    ("residue.temporary", |t| t.dir("/tmp/left")),
    ("residue.package-cache", |t| {
        t.file("/var/cache/apt/archives/a.deb", vec![b'x'; 2 << 20])
    }),
    ("accounts.empty-password", |t| {
        accounts(t, "", "root::1::::::\n").file_as("/etc/shadow", "root::1::::::\n", mode(0o640))
    }),
    ("accounts.root-locked", |t| {
        t.file_as("/etc/shadow", "root:$6$abc$def:1::::::\n", mode(0o640))
    }),
    ("accounts.passwords", |t| {
        accounts(t, "a:x:900:0::/:/bin/false\n", "a:$6$abc$def:1::::::\n")
    }),
    ("accounts.weak-hash", |t| {
        accounts(t, "a:x:900:0::/:/bin/false\n", "a:$1$abc$def:1::::::\n")
    }),
    ("accounts.uid-0", |t| {
        accounts(t, "toor:x:0:0::/:/bin/false\n", "")
    }),
    ("accounts.duplicate-uid", |t| {
        accounts(t, "a:x:900:0::/:/bin/false\nb:x:900:0::/:/bin/false\n", "")
    }),
    ("accounts.people", |t| {
        accounts(t, "ann:x:1000:0::/home/ann:/bin/bash\n", "")
    }),
    ("accounts.shadow-mode", |t| {
        t.file_as("/etc/shadow", "root:*:1::::::\n", mode(0o644))
    }),
    ("accounts.system-shells", |t| {
        accounts(t, "app:x:900:0::/:/bin/bash\n", "")
    }),
    ("software.services", |t| {
        t.link(
            "/etc/systemd/system/multi-user.target.wants/rpcbind.service",
            "/x",
        )
    }),
    ("software.packages", |t| status(t, "telnetd", "installed")),
    ("software.guest-agent", |t| {
        t.link("/etc/systemd/system/qemu-guest-agent.service", "/dev/null")
    }),
    ("software.half-installed", |t| {
        status(t, "a", "half-configured")
    }),
    ("files.setuid", |t| t.file_as("/opt/app", "x", mode(0o4755))),
    ("files.world-writable", |t| {
        t.dir_as("/srv/share", mode(0o777))
    }),
    ("files.unowned", |t| {
        t.file_as(
            "/srv/old",
            "x",
            Owner {
                uid: 1234,
                gid: 0,
                mode: 0o644,
            },
        )
    }),
    ("files.special", |t| t.special("/srv/device")),
    ("files.cron", |t| {
        t.file_as("/etc/cron.d/job", "x", mode(0o664))
    }),
    ("files.accounts", |t| t.file_as(PASSWD, ROOT, mode(0o666))),
    ("network.clock", |t| {
        t.link("/etc/systemd/system/systemd-timesyncd.service", "/dev/null")
    }),
    ("network.firewall", |t| {
        t.link("/etc/systemd/system/nftables.service", "/dev/null")
    }),
];

/// Checks that a tree of files can't fail, and where they are tested instead.
const ELSEWHERE: &[&str] = &[
    // By what was imported, in the engine's tests.
    "software.security-updates",
    // Always unknown.
    "software.vulnerabilities",
    // By the day, below.
    "software.age",
    // On disks: `a_real_disk_tells_of_its_space`, and `when_a_loader_is_asked_for`.
    "residue.free-space",
    "disk.free",
    "disk.clean",
    "boot.secure-boot",
    // A tree of the fixture can't change its directory's mode: below.
    "files.root-home",
];

#[test]
fn every_check_is_written_down_in_full() {
    let all: Vec<_> = checks().collect();
    assert!(all.len() >= 70, "{}", all.len());
    let ids: BTreeSet<&str> = all.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), all.len(), "no id twice");
    for check in all {
        let texts = [check.title, check.rationale, check.remedy];
        assert!(texts.iter().all(|text| !text.is_empty()), "{}", check.id);
        assert!(
            !check.refs.is_empty() && check.id.contains('.'),
            "{}",
            check.id
        );
        assert!(
            !check
                .refs
                .iter()
                .any(|text| text.to_lowercase().contains("complian")),
            "{}",
            check.id
        );
    }
}

#[test]
fn a_good_guest_passes_everything_that_can_be_known() {
    let report = report(&good());
    let of_tree = [
        "residue.free-space",
        "disk.free",
        "disk.clean",
        "boot.secure-boot",
        "boot.grub-password",
    ];
    for outcome in &report.outcomes {
        let expected = match outcome.check.as_str() {
            "software.security-updates" | "software.vulnerabilities" => Verdict::Unknown,
            id if of_tree.contains(&id) => Verdict::NotApplicable,
            _ => Verdict::Pass,
        };
        assert_eq!(outcome.verdict, expected, "{outcome:?}");
    }
    assert_eq!(
        report.verdict,
        Verdict::Unknown,
        "what is unknown never passes"
    );
}

#[test]
fn every_check_has_a_guest_that_fails_it() {
    let mut tested: BTreeSet<&str> = ELSEWHERE.iter().copied().collect();
    let files = FILES
        .iter()
        .map(|(id, path, text)| (id, good().file(path, *text)));
    let changes = CHANGES.iter().map(|(id, change)| (id, change(good())));
    for (id, tree) in files.chain(changes) {
        assert!(tested.insert(id), "{id} twice");
        let report = report_by(&tree, &Pack::built_in(), LATER_S);
        let outcome = of(&report, id);
        assert_eq!(outcome.verdict, Verdict::Fail, "{id}: {outcome:?}");
        assert!(
            outcome
                .findings
                .iter()
                .any(|f| !f.path.is_empty() && !f.what.is_empty()),
            "{id}"
        );
        assert!(!outcome.remedy.contains("{version}"), "{id}");
        assert_eq!(report.verdict, Verdict::Fail);
    }
    let all: BTreeSet<&str> = checks().map(|check| check.id).collect();
    assert_eq!(tested, all);
}

#[test]
fn what_can_not_be_read_is_unknown_and_never_passes() {
    for (path, ids) in [
        (
            "/etc/shadow",
            &["accounts.empty-password", "accounts.root-locked"][..],
        ),
        ("/etc/ssh/sshd_config", &["ssh.root-login", "ssh.passwords"]),
        ("/etc/fstab", &["boot.fstab"]),
        ("/var/log", &["residue.logs"]),
        ("/etc/sudoers", &["accounts.sudo"]),
        ("/etc/apt/sources.list", &["software.unsigned"]),
        (
            "/tmp",
            &["files.setuid", "residue.temporary", "secrets.tokens"],
        ),
    ] {
        let report = report(&good().dir("/var/log").damaged(path));
        for id in ids {
            let outcome = of(&report, id);
            let is_open = matches!(outcome.verdict, Verdict::Unknown | Verdict::Fail);
            assert!(is_open, "{path}: {outcome:?}");
        }
    }
}

#[test]
fn a_match_block_is_a_warning() {
    let text = format!("{SSHD}Match User ann\n  PasswordAuthentication yes\n");
    let report = report(&good().file("/etc/ssh/sshd_config", text));
    let outcome = of(&report, "ssh.passwords");
    assert_eq!(outcome.verdict, Verdict::Warn);
    assert!(outcome.findings[0].warning);
}

#[test]
fn the_day_decides_about_age_and_maintenance() {
    const DAY_S: i64 = 86_400;
    let evidence = gather_tree(&good());
    let newest = evidence.entries.newest_package_s.expect("a package");
    let subject = Subject::new("web@3", "i", &[]);
    let verdict = |id: &str, at_s: i64| {
        of(&evaluate(&evidence, &Pack::built_in(), &subject, at_s), id).verdict
    };
    assert_eq!(verdict("software.age", newest + 60 * DAY_S), Verdict::Pass);
    assert_eq!(verdict("software.age", newest + 61 * DAY_S), Verdict::Fail);
    // Debian 13: for everybody until 2028-08-09, the last until 2035-06-30.
    let last_day = 1_849_392_000 + DAY_S;
    for (id, at_s, expected) in [
        ("software.end-of-life", NOW_S, Verdict::Pass),
        ("software.end-of-life", last_day - 90 * DAY_S, Verdict::Warn),
        ("software.end-of-life", last_day - 1, Verdict::Warn),
        ("software.end-of-life", last_day, Verdict::Fail),
        ("software.end-of-maintenance", last_day, Verdict::Pass),
    ] {
        assert_eq!(verdict(id, at_s), expected, "{id} at {at_s}");
    }
}

#[test]
fn a_release_without_dates_is_unknown() {
    let report = report(&good().file("/etc/os-release", "ID=slackware\nVERSION_ID=15\n"));
    assert_eq!(
        of(&report, "software.end-of-life").verdict,
        Verdict::Unknown
    );
}

#[test]
fn root_s_home_is_for_root() {
    let open = TreeFixture::new().dir("/root");
    assert_eq!(of(&report(&open), "files.root-home").verdict, Verdict::Fail);
}

#[test]
fn no_report_holds_a_secret() {
    let token = "ghp_Zx8Kq2Lm9Nr4Ts6Vw1Yb3Cd5Ef7Gh0JkMnPq";
    let tree = good()
        .file("/etc/app.conf", format!("token = {token}\n"))
        .file("/root/.ssh/id_ed25519", KEY)
        .file_as(
            "/etc/shadow",
            "root:$6$saltsalt$hashhash:1::::::\n",
            mode(0o640),
        )
        .file(
            "/etc/apt/sources.list.d/a.list",
            "deb [trusted=yes] http://ann:geheim@a.example/x b main\n",
        );
    let evidence = serde_json::to_string(&gather_tree(&tree)).expect("JSON");
    let report = serde_json::to_string(&report(&tree)).expect("JSON");
    for secret in [token, "b3BlbnNzaC1rZXk", "hashhash", "geheim"] {
        assert!(!evidence.contains(secret), "{secret} is in the evidence");
        assert!(!report.contains(secret), "{secret} is in the report");
    }
    assert!(report.contains("a.example"), "the source itself is told");
}

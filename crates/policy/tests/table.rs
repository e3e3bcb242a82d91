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

/// What makes each check fail.
const RED: &[(&str, Change)] = &[
    ("identity.machine-id", |t| {
        t.file("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    }),
    ("identity.dbus-machine-id", |t| {
        t.file(
            "/var/lib/dbus/machine-id",
            "0123456789abcdef0123456789abcdef\n",
        )
    }),
    ("identity.ssh-host-keys", |t| {
        t.file("/etc/ssh/ssh_host_rsa_key", "x")
    }),
    ("identity.random-seed", |t| {
        t.file("/var/lib/systemd/random-seed", "x")
    }),
    ("identity.credential-secret", |t| {
        t.file("/var/lib/systemd/credential.secret", "x")
    }),
    ("identity.dhcp", |t| {
        t.file("/var/lib/dhcp/dhclient.eth0.leases", "x")
    }),
    ("identity.cloud-init", |t| {
        t.file("/var/lib/cloud/instances/i-1/obj.pkl", "x")
    }),
    ("identity.interface-names", |t| {
        t.file("/etc/udev/rules.d/70-persistent-net.rules", "x")
    }),
    ("identity.hardware-address", |t| {
        t.file(
            "/etc/netplan/a.yaml",
            "network:\n  ethernets:\n    a:\n      match:\n        macaddress: 52:54:00:12:34:56\n",
        )
    }),
    ("identity.static-address", |t| {
        t.file(
            "/etc/network/interfaces",
            "iface eth0 inet static\n  address 10.0.0.5/24\n",
        )
    }),
    ("identity.hostname", |t| t.file("/etc/hostname", "web01\n")),
    ("identity.storage", |t| {
        t.file(
            "/etc/iscsi/initiatorname.iscsi",
            "InitiatorName=iqn.1993-08.org.debian:01:abc\n",
        )
    }),
    ("identity.lvm", |t| {
        t.file("/etc/lvm/devices/system.devices", "IDTYPE=sys_wwid\n")
    }),
    ("identity.agents", |t| {
        t.file("/etc/salt/pki/minion/minion.pem", "x")
    }),
    ("identity.subscriptions", |t| {
        t.file("/etc/pki/consumer/cert.pem", "x")
    }),
    ("identity.domain", |t| t.file("/etc/krb5.keytab", "x")),
    ("identity.clusters", |t| t.file("/etc/docker/key.json", "x")),
    ("identity.databases", |t| {
        t.file("/var/lib/mysql/auto.cnf", "x")
    }),
    ("identity.services", |t| {
        t.file("/etc/mailname", "web01.example.org\n")
    }),
    ("identity.system-ids", |t| t.file("/etc/hostid", "abcd")),
    ("residue.histories", |t| {
        t.file("/root/.bash_history", "ls\n")
    }),
    ("residue.logs", |t| {
        t.file("/var/log/big", vec![b'x'; 2 << 20])
    }),
    ("residue.journal", |t| {
        t.file(
            "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
            "x",
        )
    }),
    ("residue.records", |t| t.file("/var/log/wtmp", "x")),
    // Directories are left over as well.
    ("residue.temporary", |t| t.dir("/tmp/left")),
    ("residue.spools", |t| t.file("/var/spool/mail/root", "x")),
    ("residue.caches", |t| t.file("/root/.cache/x", "x")),
    ("residue.package-cache", |t| {
        t.file("/var/cache/apt/archives/a.deb", vec![b'x'; 2 << 20])
    }),
    ("secrets.authorized-keys", |t| {
        t.file("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA x\n")
    }),
    ("secrets.private-keys", |t| {
        t.file("/root/.ssh/id_ed25519", KEY)
    }),
    ("secrets.tokens", |t| {
        t.file(
            "/etc/app.conf",
            "token = ghp_Zx8Kq2Lm9Nr4Ts6Vw1Yb3Cd5Ef7Gh0JkMnPq\n",
        )
    }),
    ("secrets.credentials", |t| {
        t.file("/root/.aws/credentials", "[default]\n")
    }),
    ("secrets.networks", |t| {
        t.file(
            "/etc/wireguard/wg0.conf",
            "[Interface]\nPrivateKey = qL0ZDkPjSdKyGnmxpSKxNDzHrvAy0mMqtZHBZBxLd2c=\n",
        )
    }),
    ("secrets.password-files", |t| {
        t.file("/etc/shadow-", "root:$6$abc$def:1::::::\n")
    }),
    ("secrets.known-hosts", |t| {
        t.file("/root/.ssh/known_hosts", "x")
    }),
    ("secrets.disk-keys", |t| {
        t.file("/etc/crypttab", "data UUID=1 /etc/data.key luks\n")
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
    ("accounts.sudo", |t| {
        t.file("/etc/sudoers.d/ann", "ann ALL=(ALL) NOPASSWD: ALL\n")
    }),
    ("accounts.password-age", |t| {
        t.file("/etc/login.defs", "PASS_MAX_DAYS 99999\n")
    }),
    ("accounts.system-shells", |t| {
        accounts(t, "app:x:900:0::/:/bin/bash\n", "")
    }),
    ("ssh.root-login", |t| {
        t.file(
            "/etc/ssh/sshd_config",
            "PermitRootLogin yes\nPermitRootLogin no\n",
        )
    }),
    ("ssh.passwords", |t| t.file("/etc/ssh/sshd_config", "")),
    ("ssh.empty-passwords", |t| {
        t.file("/etc/ssh/sshd_config", "PermitEmptyPasswords yes\n")
    }),
    ("ssh.x11", |t| {
        t.file("/etc/ssh/sshd_config", "X11Forwarding yes\n")
    }),
    ("ssh.ciphers", |t| {
        t.file("/etc/ssh/sshd_config", "Ciphers aes256-ctr,aes128-cbc\n")
    }),
    ("ssh.macs", |t| {
        t.file("/etc/ssh/sshd_config", "MACs +hmac-md5\n")
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
    ("software.cloud-init", |t| {
        t.file("/etc/cloud/cloud-init.disabled", "")
    }),
    ("software.half-installed", |t| {
        status(t, "a", "half-configured")
    }),
    ("software.updates", |t| {
        t.file(
            "/etc/apt/apt.conf.d/20auto",
            "APT::Periodic::Unattended-Upgrade \"0\";\n",
        )
    }),
    ("software.unsigned", |t| {
        t.file(
            "/etc/apt/sources.list.d/a.list",
            "deb [trusted=yes] http://a b main\n",
        )
    }),
    ("software.security-source", |t| {
        t.file(
            "/etc/apt/sources.list",
            "deb http://deb.example/debian trixie main\n",
        )
    }),
    ("software.end-of-life", |t| {
        t.file("/etc/os-release", "ID=debian\nVERSION_ID=\"11\"\n")
    }),
    ("software.end-of-maintenance", |t| {
        t.file("/etc/os-release", "ID=centos\nVERSION_ID=\"7\"\n")
    }),
    ("boot.modules", |t| t.file("/boot/vmlinuz-5.10", "k")),
    ("boot.initrd", |t| t.file("/boot/vmlinuz-5.10", "k")),
    ("boot.virtio", |t| {
        t.file(
            "/lib/modules/6.12/modules.builtin",
            "kernel/a/virtio_net.ko\n",
        )
    }),
    ("boot.fstab", |t| {
        t.file("/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n")
    }),
    ("boot.root-device", |t| {
        t.file(
            GRUB,
            "linux /boot/vmlinuz-6.12 root=/dev/vda1 console=ttyS0\n",
        )
    }),
    ("boot.serial-console", |t| {
        t.file(GRUB, "linux /boot/vmlinuz-6.12 root=UUID=1 console=tty0\n")
    }),
    ("boot.grub-password", |t| {
        t.file(GRUB, "password_pbkdf2 a grub.pbkdf2.sha512\n")
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
    ("network.forwarding", |t| {
        t.file("/etc/sysctl.d/90.conf", "net/ipv4/ip_forward=1\n")
    }),
    ("network.name-servers", |t| {
        t.file("/etc/resolv.conf", "nameserver 10.0.0.1\n")
    }),
    ("network.hosts", |t| t.file("/etc/hosts", "10.0.0.9 db\n")),
    ("network.datasources", |t| {
        t.file("/etc/cloud/cloud.cfg", "datasource_list: [Ec2]\n")
    }),
];

/// Checks that a tree of files can't fail, and where they are tested instead.
const ELSEWHERE: &[&str] = &[
    // No index is there yet: always unknown.
    "software.security-updates",
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
    for (id, change) in RED {
        if ELSEWHERE.contains(id) {
            continue;
        }
        tested.insert(id);
        let report = report_by(&change(good()), &Pack::built_in(), LATER_S);
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
    let subject = Subject {
        name: "web@3",
        image: "i",
        exceptions: &[],
    };
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

//! A small Debian as a tree, and requests for it, that the tests of personalising share.

use rand::SeedableRng;
use rand::rngs::StdRng;
use stampo_core::ids::{GuestId, ImageId};
use stampo_core::network::Mac;
use stampo_core::personalisation::{Personalisation, User};
use stampo_guest::fs::tree::TreeFixture;
use stampo_guest::fs::{GuestRead, Owner};
use stampo_guest::personalise::{
    Context, Elsewhere, GuestSecrets, PersonaliseError, Report, check, personalise,
};
use uuid::Uuid;

/// 2026-01-01 00:00:00 UTC: day 20,454 since 1970.
pub const NOW_S: i64 = 1_767_225_600;
pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPpWJc5gE0QmPYLZmSDN5ziqvUwGUAqrP2jWMVd4xK6e me@host";
pub const HASH: &str = "$6$salt$abcdefghijklmnopqrstuv";

/// A Debian with ifupdown, openssh, open-iscsi, nvme-cli, postfix and docker, as it is sealed.
pub fn debian() -> TreeFixture {
    TreeFixture::new()
        .file("/usr/lib/systemd/systemd", "elf")
        .file("/usr/lib/systemd/systemd-growfs", "elf")
        .link("/lib", "usr/lib")
        .link("/sbin", "usr/sbin")
        .file("/usr/lib/ifupdown/wait-online.sh", "#!/bin/sh")
        .file("/usr/sbin/sshd", "elf")
        .file("/usr/sbin/iscsid", "elf")
        .file("/usr/sbin/nvme", "elf")
        .file("/usr/sbin/dockerd", "elf")
        .file("/bin/bash", "elf")
        .file("/etc/ssh/sshd_config", "UsePAM yes\n")
        .file("/etc/machine-id", "")
        .file("/etc/hostname", "localhost\n")
        .file("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost\n")
        .file("/etc/network/interfaces", "auto lo\niface lo inet loopback\nsource /etc/network/interfaces.d/*\nallow-hotplug ens3\niface ens3 inet dhcp\n")
        .dir("/etc/network/interfaces.d")
        .file("/etc/fstab", "UUID=5eed0000-0000-4000-8000-000000000001 / ext4 errors=remount-ro 0 1\n")
        .dir("/etc/iscsi")
        .dir("/etc/nvme")
        .file("/etc/postfix/main.cf", "myhostname = vm\nmydestination = $myhostname, localhost\n")
        .file("/etc/mailname", "vm\n")
        .file("/etc/passwd", PASSWD)
        .file_as("/etc/shadow", SHADOW, Owner { uid: 0, gid: 42, mode: 0o640 })
        .file("/etc/group", GROUP)
        .file_as("/etc/gshadow", GSHADOW, Owner { uid: 0, gid: 42, mode: 0o640 })
        .file("/etc/subuid", "old:100000:65536\n")
        .file("/etc/subgid", "old:100000:65536\n")
        .file("/etc/login.defs", LOGIN_DEFS)
        .file("/etc/skel/.profile", "# profile\n")
        .file("/etc/skel/.config/app/settings", "a=1\n")
        .link("/etc/skel/.link", ".profile")
        .dir("/etc/sudoers.d")
        .dir_as("/root", Owner::root(0o700))
        .dir("/home")
        .dir("/var/lib/dbus")
        .dir("/var/lib/systemd")
        .file("/usr/share/zoneinfo/Europe/Rome", b"TZif2 rules")
        .file("/usr/share/zoneinfo/tzdata.zi", "# not a zone")
        .link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
        .file("/etc/timezone", "Etc/UTC\n")
}

/// The same with cloud-init.
pub fn debian_with_cloud_init() -> TreeFixture {
    debian()
        .file("/usr/bin/cloud-init", "py")
        .file("/etc/cloud/cloud.cfg", "users: [default]\n")
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
sshd:x:103:65534::/run/sshd:/usr/sbin/nologin
old:x:1000:1000:Old,,,:/home/old:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";
const SHADOW: &str = "\
root:$6$template$hash:19700:0:99999:7:::
daemon:*:19700:0:99999:7:::
sshd:!:19700::::::
old:$6$old$hash:19700:0:99999:7:::
nobody:*:19700:0:99999:7:::
";
const GROUP: &str = "\
root:x:0:
daemon:x:1:
sudo:x:27:old
shadow:x:42:
old:x:1000:
nogroup:x:65534:
";
const GSHADOW: &str = "\
root:*::
daemon:*::
sudo:*::old
shadow:*::
old:!::
nogroup:*::
";
const LOGIN_DEFS: &str = "\
# comment
UMASK\t\t022
UID_MIN\t\t\t 1000
UID_MAX\t\t\t60000
GID_MIN 1000
GID_MAX 60000
SUB_UID_MIN 100000
SUB_UID_MAX 600100000
SUB_UID_COUNT 65536
PASS_MAX_DAYS 99999
PASS_MIN_DAYS 0
PASS_WARN_AGE 7
";

pub fn request(hostname: &str) -> Personalisation {
    Personalisation {
        hostname: hostname.into(),
        ..Personalisation::default()
    }
}

pub fn user(name: &str) -> User {
    User {
        name: name.into(),
        ..User::default()
    }
}

/// The context of guest number `n`, with one interface.
pub fn context(n: u8) -> Context {
    Context {
        guest: GuestId(Uuid::from_u128(0x1000 + u128::from(n))),
        version: "web@3".into(),
        image: ImageId::from_bytes([7; 32]),
        nics: vec![Mac::from_random([0, 0, 0, n])],
        grow_root: false,
        elsewhere: Elsewhere::NotSearched,
        now_s: NOW_S,
    }
}

pub fn secrets(n: u64) -> GuestSecrets {
    GuestSecrets::generate(&mut StdRng::seed_from_u64(n)).expect("secrets can be made")
}

/// Personalises `tree` as guest 1.
pub fn run(tree: &mut TreeFixture, request: &Personalisation) -> Report {
    personalise(tree, request, &secrets(1), &context(1)).expect("the request is good")
}

/// The error that both `check` and `personalise` give; a refused request has changed nothing.
pub fn refusal(tree: TreeFixture, request: &Personalisation) -> PersonaliseError {
    let context = context(1);
    let early = check(&tree, request, &context).expect_err("check must refuse it");
    let mut changed = tree.clone();
    let late = personalise(&mut changed, request, &secrets(1), &context).expect_err("refused");
    assert_eq!(early.to_string(), late.to_string());
    for path in ["/etc/hostname", "/etc/passwd", "/etc/machine-id"] {
        assert_eq!(
            bytes(&tree, path),
            bytes(&changed, path),
            "{path} was changed"
        );
    }
    late
}

pub fn bytes(fs: &dyn GuestRead, path: &str) -> Vec<u8> {
    fs.read(path, 1 << 20)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub fn text(fs: &dyn GuestRead, path: &str) -> String {
    String::from_utf8(bytes(fs, path)).expect("text")
}

/// Mode, owner and group of an entry.
pub fn owner(fs: &dyn GuestRead, path: &str) -> (u32, u32, u32) {
    let found = fs
        .metadata(path)
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    (found.mode, found.uid, found.gid)
}

/// The output of a program that the test needs; a missing one fails the test.
pub fn output(program: &str, arguments: &[&str]) -> std::process::Output {
    std::process::Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed by this test: {error}"))
}

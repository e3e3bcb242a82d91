//! Texts that want to run a parser in circles, or to be obeyed by a terminal.

use super::{Case, End, refused, tree};
use crate::chain::Step;

pub fn cases() -> Vec<Case> {
    let mut cases = parsers();
    cases.extend(terminals());
    cases.extend(names());
    cases
}

/// Sets a window's title, clears the screen, moves up, in both forms of the introducer.
const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1A\u{7f}\u{8}\u{202e}\r";

/// A "billion laughs": each line names the one before ten times.
fn laughs() -> String {
    let mut text = "a0: &a0 [\"lol\"]\n".to_owned();
    for n in 1..30 {
        let again = format!("*a{},", n - 1).repeat(10);
        text += &format!("a{n}: &a{n} [{again}]\n");
    }
    text + "network: *a29\n"
}

fn parsers() -> Vec<Case> {
    vec![
        tree("a billion laughs in netplan", End::Cloned, |t| {
            t.file("/etc/netplan/01.yaml", laughs())
        }),
        tree("a billion laughs in cloud.cfg", End::Cloned, |t| {
            t.file("/etc/cloud/cloud.cfg", laughs())
        }),
        tree("an alias of itself", End::Cloned, |t| {
            t.file("/etc/netplan/01.yaml", "network: &n {ethernets: *n}\n");
        }),
        tree(
            "YAML of 100,000 levels",
            refused(Step::Publish, "/etc/netplan/01.yaml"),
            |t| {
                t.file("/etc/netplan/01.yaml", "[".repeat(100_000));
            },
        ),
        tree("YAML of 100,000 levels of blocks", End::Cloned, |t| {
            t.file("/etc/cloud/cloud.cfg", "- ".repeat(100_000));
        }),
        tree("NULs everywhere", End::Cloned, |t| {
            for path in [
                "passwd",
                "shadow",
                "group",
                "hosts",
                "fstab",
                "network/interfaces",
            ] {
                t.file(&format!("/etc/{path}"), [0; 5000]);
            }
        }),
        tree(
            "bytes that are not text",
            refused(Step::Clone, "not UTF-8"),
            |t| {
                for path in [
                    "hostname",
                    "os-release",
                    "hosts",
                    "fstab",
                    "ssh/sshd_config",
                    "machine-id",
                ] {
                    t.file(&format!("/etc/{path}"), [0xff, 0xfe, b'\n'].repeat(1000));
                }
            },
        ),
        tree(
            "passwd of other columns",
            refused(Step::Publish, "password.empty"),
            |t| {
                t.file(
                    "/etc/passwd",
                    "root\n:::::::::::\n+@nis::::::\n\nroot:x:-1:99999999999::/..:\n",
                );
            },
        ),
        tree("line ends of DOS", End::Cloned, |t| {
            t.file("/etc/hostname", "evil\r\n");
            t.file("/etc/hosts", "127.0.1.1 evil\r\n");
        }),
    ]
}

fn terminals() -> Vec<Case> {
    vec![
        tree("escapes in os-release", End::Cloned, |t| {
            t.file(
                "/etc/os-release",
                format!("ID=x\nPRETTY_NAME=\"{ESCAPES}\"\nVERSION_ID={ESCAPES}\n"),
            );
        }),
        tree("escapes in packages", End::Cloned, |t| {
            let text =
                format!("Package: {ESCAPES}\nStatus: install ok installed\nVersion: {ESCAPES}\n\n");
            t.file("/var/lib/dpkg/status", text);
        }),
        tree("escapes in users", End::Cloned, |t| {
            let text = format!(
                "root:x:0:0::/root:/bin/sh\n{ESCAPES}:x:1:1:{ESCAPES}:/{ESCAPES}:{ESCAPES}\n"
            );
            t.file("/etc/passwd", text);
        }),
        tree("escapes in networks", End::Cloned, |t| {
            t.file(
                "/etc/netplan/01.yaml",
                format!("network: {{ethernets: {{\"{ESCAPES}\": {{dhcp4: yes}}}}}}\n"),
            );
            t.file("/etc/netplan/02.yaml", format!("{ESCAPES}: [\n{ESCAPES}"));
            t.file(
                "/etc/systemd/network/10-x.network",
                format!("[Match]\nName={ESCAPES}\n"),
            );
        }),
        tree("escapes in ssh", End::Cloned, |t| {
            t.file(
                "/etc/ssh/sshd_config",
                format!("{ESCAPES} {ESCAPES}\nPort {ESCAPES}\n"),
            );
            t.file(
                "/etc/ssh/ssh_host_rsa_key.pub",
                format!("ssh-rsa {ESCAPES} {ESCAPES}\n"),
            );
        }),
        tree("escapes in mounts, kernels, sudo", End::Cloned, |t| {
            t.file(
                "/etc/fstab",
                format!("{ESCAPES} /{ESCAPES} {ESCAPES} {ESCAPES} 0 0\n"),
            );
            t.file(
                "/boot/grub/grub.cfg",
                format!("menuentry '{ESCAPES}' {{\nlinux /{ESCAPES} {ESCAPES}\n}}\n"),
            );
            t.file(
                "/etc/sudoers.d/x",
                format!("{ESCAPES} ALL=(ALL) NOPASSWD: {ESCAPES}\n"),
            );
            t.file(&format!("/boot/vmlinuz-{ESCAPES}"), "x");
            t.file("/etc/timezone", ESCAPES);
            t.file("/etc/hostname", ESCAPES);
        }),
        tree("escapes in the label", End::Cloned, |t| {
            t.option(&["-L", "\u{1b}[2Jx\u{9b}"])
        }),
        tree("escapes in the identity", End::Cloned, |t| {
            t.file("/usr/sbin/iscsid", "x");
            t.file(
                "/etc/iscsi/initiatorname.iscsi",
                format!("InitiatorName={ESCAPES}\n"),
            );
            t.file("/etc/machine-id", ESCAPES);
            t.file("/etc/mailname", ESCAPES);
        }),
    ]
}

/// Names of files that are told: what is sealed, found, not understood.
fn names() -> Vec<Case> {
    let found = refused(Step::Publish, "key.private");
    vec![
        tree("names with escapes", End::Cloned, |t| {
            for directory in [
                "/home",
                "/var/log",
                "/etc/ssh",
                "/etc/netplan",
                "/root",
                "/etc/cron.d",
            ] {
                t.file(&format!("{directory}/{ESCAPES}"), "x");
                t.file(&format!("{directory}/ssh_host_{ESCAPES}_key"), "x");
            }
            t.file(&format!("/home/{ESCAPES}2/.bash_history"), "a command\n");
        }),
        tree("names with line ends", End::Cloned, |t| {
            t.file("/var/log/a\nweb@1: 182 checks, 0 open findings", "x");
            t.file("/home/a\nb/.bash_history", "a command\n");
        }),
        tree(
            "names that are not text",
            refused(Step::Publish, "its name is not text"),
            |t| {
                for directory in [
                    "/home",
                    "/var/log",
                    "/etc/ssh",
                    "/root",
                    "/etc/systemd/system",
                ] {
                    t.raw_name(directory, b"\xff\xfe\x9b\x1b[2J");
                }
            },
        ),
        tree("names like options", End::Cloned, |t| {
            for directory in ["/", "/home", "/var/log", "/etc/ssh", "/root"] {
                t.file(&format!("{directory}/-rf"), "x");
                t.file(&format!("{directory}/--help"), "x");
                t.file(&format!("{directory}/*"), "x");
            }
        }),
        tree("a secret under a name with escapes", found, |t| {
            let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu\n-----END RSA PRIVATE KEY-----\n";
            t.file(&format!("/etc/{ESCAPES}\n.pem"), key);
            t.file("/etc/x.key", key);
        }),
    ]
}

//! Drift of a Debian that was booted once: every planted change is found and called by its name, and
//! nothing else is of class security.

use serde_json::Value;
use stampo_testbed::Stampo;
use std::collections::{BTreeMap, BTreeSet};

/// What is planted: the path that tells, its class, and what an intruder, an administrator or a package
/// does in the running guest.
const PLANTS: &[(&str, &str, &str)] = &[
    (
        "/etc/ssh/sshd_config",
        "security",
        "echo 'PermitRootLogin yes' >> /etc/ssh/sshd_config",
    ),
    (
        "/etc/ssh/sshd_config.d/x.conf",
        "security",
        "echo 'X11Forwarding yes' > /etc/ssh/sshd_config.d/x.conf",
    ),
    (
        "/etc/sudoers.d/evil",
        "security",
        "echo 'evil ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/evil",
    ),
    ("/etc/sudoers", "security", "chmod 0666 /etc/sudoers"),
    (
        "/usr/local/bin/root",
        "security",
        "cp /bin/sh /usr/local/bin/root && chmod 4755 /usr/local/bin/root",
    ),
    ("/usr/bin/base64", "security", "chmod u+s /usr/bin/base64"),
    (
        "/etc/systemd/system/evil.service",
        "security",
        "printf '[Service]\\nExecStart=/bin/true\\n' > /etc/systemd/system/evil.service",
    ),
    (
        "/etc/systemd/system/multi-user.target.wants/evil.service",
        "security",
        "ln -s ../evil.service /etc/systemd/system/multi-user.target.wants/evil.service",
    ),
    (
        "/etc/cron.d/evil",
        "security",
        "mkdir -p /etc/cron.d; echo '* * * * * root true' > /etc/cron.d/evil",
    ),
    (
        "/var/spool/cron/crontabs/root",
        "security",
        "mkdir -p /var/spool/cron/crontabs; echo '* * * * * true' > /var/spool/cron/crontabs/root",
    ),
    (
        "/etc/shadow",
        "security",
        "sed -i 's/^root:[^:]*/root:$6$a$b/' /etc/shadow",
    ),
    (
        "/etc/passwd",
        "security",
        "echo 'toor:x:0:0::/root:/bin/sh' >> /etc/passwd",
    ),
    (
        "/root/.ssh/authorized_keys",
        "security",
        "echo 'ssh-ed25519 AAAA evil' >> /root/.ssh/authorized_keys",
    ),
    ("/etc/ld.so.preload", "security", "touch /etc/ld.so.preload"),
    (
        "/usr/local/share/ca-certificates/evil.crt",
        "security",
        "mkdir -p /usr/local/share/ca-certificates; echo x > /usr/local/share/ca-certificates/evil.crt",
    ),
    (
        "/etc/pam.d/common-auth",
        "security",
        "echo 'auth sufficient pam_permit.so' >> /etc/pam.d/common-auth",
    ),
    (
        "/etc/profile.d/evil.sh",
        "security",
        "echo : > /etc/profile.d/evil.sh",
    ),
    (
        "/etc/apt/sources.list.d/evil.list",
        "security",
        "echo 'deb [trusted=yes] http://evil x y' > /etc/apt/sources.list.d/evil.list",
    ),
    // The size and the mtime are put back.
    (
        "/usr/bin/yes",
        "security",
        "m=$(stat -c %y /usr/bin/yes); printf X | dd of=/usr/bin/yes bs=1 seek=400 conv=notrunc 2>/dev/null; touch -d \"$m\" /usr/bin/yes",
    ),
    ("/usr/bin/tac", "security", "rm /usr/bin/tac"),
    ("/usr/bin/awk", "security", "ln -sfn /tmp/evil /usr/bin/awk"),
    (
        "/var/lib/notes",
        "security",
        "ln /etc/gshadow /var/lib/notes",
    ),
    (
        "/usr/bin/tee",
        "security",
        "setcap cap_setuid+ep /usr/bin/tee 2>/dev/null || chmod g+s /usr/bin/tee",
    ),
    ("/var/tmp/tap", "security", "mkfifo /var/tmp/tap"),
    ("/etc/motd", "config", "echo planted > /etc/motd"),
    (
        "/etc/nginx/conf.d/site.conf",
        "config",
        "echo '# x' > /etc/nginx/conf.d/site.conf",
    ),
    ("/opt/tool", "foreign", "echo x > /opt/tool"),
    (
        "/usr/local/bin/tool",
        "foreign",
        "printf '#!/bin/sh\\n' > /usr/local/bin/tool; chmod +x /usr/local/bin/tool",
    ),
    (
        "/var/lib/miner",
        "foreign",
        "printf '#!/bin/sh\\n' > /var/lib/miner; chmod +x /var/lib/miner",
    ),
    ("/srv/data.txt", "expected", "echo data > /srv/data.txt"),
];

/// A package of our own that is installed, with a program and a unit that is enabled by its script.
const PACKAGE: &str = r#"
set -e
d=/var/tmp/pkg; mkdir -p $d/DEBIAN $d/usr/bin $d/usr/lib/systemd/system
printf 'Package: stampo-test\nVersion: 1.2\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' > $d/DEBIAN/control
printf '#!/bin/sh\n' > $d/usr/bin/stampo-test; chmod 755 $d/usr/bin/stampo-test
printf '[Unit]\nDescription=x\n[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' > $d/usr/lib/systemd/system/stampo-test.service
printf '#!/bin/sh\nsystemctl enable stampo-test.service\n' > $d/DEBIAN/postinst; chmod 755 $d/DEBIAN/postinst
dpkg-deb -b $d /var/tmp/p.deb >/dev/null; dpkg -i /var/tmp/p.deb >/dev/null 2>&1
rm -rf $d /var/tmp/p.deb
"#;

pub fn every_planted_change_of_a_booted_debian_is_found() {
    let stampo = Stampo::new();
    stampo.publish_shared("web", "examples/web.toml");
    stampo.clones("web", "app-{n}", &["--count", "2"]);
    for guest in ["app-1", "app-2"] {
        stampo.agent(
            guest,
            "systemctl is-system-running --wait >/dev/null 2>&1; :",
        );
    }
    for (path, _, plant) in PLANTS {
        stampo.agent(
            "app-1",
            &format!("{{ {plant}; }} || echo failed {path} >> /root/plants"),
        );
    }
    stampo.agent("app-1", PACKAGE);
    assert_eq!(
        stampo.agent("app-1", "cat /root/plants 2>/dev/null; sync; :"),
        ""
    );

    let said = stampo.fails(4, &["drift", "app-1"]);
    assert!(
        said.contains("stop it"),
        "a running guest is unknown: {said}"
    );
    stampo.ok(&["stop", "app-1", "app-2"]);

    // One that only booted has changed nothing that anybody has to look at.
    let quiet = stampo.json(&["drift", "app-2"]);
    assert_eq!(
        (quiet[0]["verdict"].as_str(), quiet[0]["lineage"].as_str()),
        (Some("none"), Some("current")),
        "{quiet:#}"
    );
    for options in [&[][..], &["--paranoid"]] {
        look_for_plants(&stampo, options);
    }
    let text = stampo.run(&["drift", "app-1"]).stdout;
    assert!(text.lines().count() <= 7, "a few lines:\n{text}");
    let text = stampo.run(&["drift", "--all", "-o", "name"]).stdout;
    assert_eq!(text.trim(), "app-1");

    stampo.ok(&["drift", "app-1", "--accept", "it is a test"]);
    let after = stampo.json(&["drift", "app-1"]);
    assert_eq!(after[0]["counts"]["security"], 0, "{after:#}");
}

fn look_for_plants(stampo: &Stampo, options: &[&str]) {
    let ran = stampo.run(&[&["drift", "app-1", "-o", "json"], options].concat());
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let found: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let found = &found[0];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = found["findings"].as_array().expect("a list");
    let classes: BTreeMap<String, String> = findings
        .iter()
        .map(|one| (text(&one["path"]), text(&one["class"])))
        .collect();
    let called = |path: &str| classes.get(path).map(String::as_str);
    let missed: Vec<_> = PLANTS
        .iter()
        .filter(|(path, class, _)| called(path) != Some(class))
        .map(|(path, class, _)| (path, class, called(path)))
        .collect();
    assert_eq!(missed, [], "with {options:?}");
    let planted: BTreeSet<&str> = PLANTS
        .iter()
        .filter(|(_, class, _)| *class == "security")
        .map(|(path, ..)| *path)
        .chain(["/etc/gshadow"])
        .collect();
    let security = classes.iter().filter(|(_, class)| *class == "security");
    let others: Vec<&String> = security
        .map(|(path, _)| path)
        .filter(|path| !planted.contains(path.as_str()))
        .collect();
    assert_eq!(
        others,
        Vec::<&String>::new(),
        "nothing else is of class security"
    );
    for path in [
        "/usr/bin/stampo-test",
        "/usr/lib/systemd/system/stampo-test.service",
        "/etc/systemd/system/multi-user.target.wants/stampo-test.service",
    ] {
        assert_eq!(
            classes.get(path).map(String::as_str),
            Some("package"),
            "{path}"
        );
    }
    let packages: Vec<String> = found["packages"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| text(&one["name"]))
        .collect();
    assert_eq!(packages, ["stampo-test:all"]);
    assert_eq!(found["unknown"], Value::Array(Vec::new()), "{found:#}");
}

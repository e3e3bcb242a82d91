//! Everything that one clone can be given, in one guest; and two commands at once.

use stampo_testbed::Stampo;

const SPEC: &str = r#"
memory = "640M"
disk_size = "5G"
extra_disks = ["64M"]
domain = "example.org"

[network]
address = "192.0.2.10-192.0.2.20/24"

[[users]]
name = "ann"
groups = ["adm"]
sudo = true

[[files]]
path = "/etc/motd"
text = "made to order\n"
mode = "0640"
group = "adm"
"#;

pub fn one_guest_with_everything() {
    let stampo = Stampo::new();
    stampo.publish_shared("web", "examples/web.toml");
    let (spec, script) = (stampo.path("spec.toml"), stampo.path("script"));
    std::fs::write(&spec, SPEC).expect("written");
    std::fs::write(&script, "#!/bin/sh\necho done > /root/script-ran\n").expect("written");
    let (spec, script) = (spec.display().to_string(), script.display().to_string());
    stampo.clones(
        "web",
        "all",
        &[
            "--full",
            "--spec",
            &spec,
            "--cpus",
            "2",
            "--first-boot-script",
            &script,
        ],
    );
    assert_eq!(stampo.ssh("all", "hostname -f"), "all.example.org");
    assert_eq!(stampo.ssh("all", "nproc"), "2");
    assert!(
        stampo
            .ssh("all", "ip -4 -o addr show scope global")
            .contains("192.0.2.10/24")
    );
    assert!(
        stampo
            .ssh("all", "ip route show default")
            .contains("192.0.2.1")
    );
    assert_eq!(stampo.ssh("ann@all", "sudo id -u; id -nG"), "0\nann adm");
    assert_eq!(
        stampo.ssh("all", "stat -c '%a %G' /etc/motd; cat /etc/motd"),
        "640 adm\nmade to order"
    );
    assert_eq!(
        stampo.ssh("all", "lsblk -bdno SIZE | sort -n | head -1"),
        (64 << 20).to_string()
    );
    let size: u64 = stampo
        .ssh("all", "df --output=size -B1 / | tail -1")
        .parse()
        .expect("a number");
    assert!(size > 4_500_000_000, "the filesystem has grown: {size}");
    stampo.agent(
        "all",
        "systemctl is-system-running --wait >/dev/null 2>&1; :",
    );
    assert_eq!(stampo.agent("all", "cat /root/script-ran"), "done");
    stampo.ok(&["rm", "--force", "all"]);
    two_commands_at_once(&stampo);
}

fn two_commands_at_once(stampo: &Stampo) {
    let args = [
        "clone",
        "web",
        "many-{n}",
        "--count",
        "10",
        "--no-start",
        "-q",
        "-o",
        "name",
    ];
    let mut running: Vec<_> = (0..3)
        .map(|_| stampo.command(&args).spawn().expect("starts"))
        .collect();
    for process in &mut running {
        assert!(
            process.wait().is_ok_and(|status| status.success()),
            "a command waits its turn"
        );
    }
    assert_eq!(stampo.guests().len(), 30);
    let ran = stampo.run(&["passport", "--all", "-q"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
}

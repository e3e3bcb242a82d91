//! The main job: one template, three clones, everything that is done with them.

use super::commands;
use stampo_testbed::Stampo;
use std::collections::HashSet;

pub fn three_clones_from_packages_to_removal() {
    let stampo = Stampo::new();
    killed_while_building(&stampo);
    stampo.publish("web", "examples/web.toml");
    refusals(&stampo);
    let made = stampo.clones("web", "app-{n}", &["--count", "3", "--user", "admin:sudo"]);
    let made = made.as_array().expect("a list");
    assert_eq!(made.len(), 3);
    for phase in ["disk", "define", "verify", "start", "ssh"] {
        assert!(
            made.iter().all(|guest| guest["phases_ms"][phase].is_u64()),
            "{phase} has a time"
        );
    }
    each_is_itself(&stampo);
    starts_the_short_way(&stampo);
    daily_verbs(&stampo);
    commands::through_the_program(&stampo, "app-1", "admin");
    stops_and_keeps_its_identity(&stampo);
    removal(&stampo);
}

/// A build that is killed leaves nothing: the next command sees to that.
fn killed_while_building(stampo: &Stampo) {
    let recipe = stampo_testbed::project()
        .join("examples/web.toml")
        .display()
        .to_string();
    let mut build = stampo
        .command(&["template", "build", "web", "-q", "-f", &recipe])
        .spawn()
        .expect("starts");
    std::thread::sleep(std::time::Duration::from_secs(20));
    build.kill().expect("it was still building");
    build.wait().expect("it ended");
    let said = stampo.run(&["template", "ls", "--all"]);
    assert!(said.stderr.contains("was interrupted"), "{}", said.stderr);
    assert_eq!(stampo.ok(&["template", "ls", "--all", "-o", "name"]), "");
    for name in ["images", "staging", "guests", "trash"] {
        let left = std::fs::read_dir(stampo.home().join(name))
            .expect("listed")
            .count();
        assert_eq!(left, 0, "{name} is empty again");
    }
}

/// What the lifecycle forbids, before any clone exists.
fn refusals(stampo: &Stampo) {
    assert!(
        stampo
            .fails(4, &["template", "purge", "web"])
            .contains("published")
    );
    assert!(stampo.fails(3, &["clone", "web@7", "x"]).contains("web@7"));
    assert!(
        stampo
            .fails(2, &["clone", "web", "Bad_Name"])
            .contains("a-z")
    );
    assert!(
        stampo
            .fails(2, &["clone", "web", "a", "--disk-size", "1M"])
            .contains("can't shrink")
    );
    assert!(stampo.guests().is_empty(), "a refused clone leaves nothing");
}

fn each_is_itself(stampo: &Stampo) {
    let ask = |what: &str| -> HashSet<String> {
        (1..=3)
            .map(|n| stampo.ssh(&format!("app-{n}"), what))
            .collect()
    };
    assert_eq!(
        ask("hostname"),
        HashSet::from(["app-1", "app-2", "app-3"].map(str::to_owned))
    );
    let unique = [
        "cat /etc/machine-id",
        "cat /sys/class/dmi/id/product_uuid",
        "cat /sys/class/net/e*/address",
        "cat /etc/ssh/ssh_host_ed25519_key.pub",
        "cat /proc/sys/kernel/random/boot_id",
        "sha256sum < /var/lib/systemd/random-seed",
    ];
    for item in unique {
        assert_eq!(ask(item).len(), 3, "{item}");
    }
    assert_eq!(stampo.ssh("admin@app-1", "sudo id -u"), "0");
    assert!(
        stampo
            .ssh("app-1", "cat /var/www/html/index.html")
            .contains("Stamped")
    );
    let running = stampo.json(&["passport", "--all"]);
    for passport in running.as_array().expect("a list") {
        assert_eq!(passport["source"], "agent", "{passport:#}");
        let wrong = passport["items"]
            .as_array()
            .expect("items")
            .iter()
            .find(|item| matches!(item["verdict"].as_str(), Some("duplicated" | "unknown")));
        assert!(wrong.is_none(), "{wrong:#?}");
    }
}

/// What spares an emulated guest seconds of its start.
fn starts_the_short_way(stampo: &Stampo) {
    // Only a kernel that is started by its 16-bit entry asks the BIOS for its disks (`eddbuf_entries`
    // in Linux `Documentation/arch/x86/zero-page.rst`).
    let asked = "od -An -tu1 -j $((0x1e9)) -N 1 /sys/kernel/boot_params/data";
    assert_ne!(stampo.ssh("app-1", asked).trim(), "0", "not by linux16");
    let names = "zstd -dc < /initrd.img | grep -aoE '[a-z_]+[.]ko' | sort -u";
    let drivers = stampo.ssh("app-1", names);
    for driver in ["virtio_blk.ko", "vmw_pvscsi.ko", "hv_storvsc.ko"] {
        assert!(drivers.contains(driver), "no {driver} in the initrd");
    }
    let loaded = stampo.ssh("app-1", "cat /proc/modules");
    assert!(loaded.contains("virtio_blk"));
    for driver in ["vmw_pvscsi", "ata_piix"] {
        assert!(!loaded.contains(driver), "{driver} is loaded, not needed");
    }
}

fn daily_verbs(stampo: &Stampo) {
    let from = stampo.path("note");
    std::fs::write(&from, b"\x00binary\xff\n").expect("written");
    let to = stampo.path("back");
    stampo.ok(&["cp", &from.display().to_string(), "app-1:/root/note"]);
    stampo.ok(&["cp", "app-1:/root/note", &to.display().to_string()]);
    assert_eq!(std::fs::read(&to).expect("copied"), b"\x00binary\xff\n");
    assert_eq!(stampo.agent("app-1", "stat -c %s /root/note"), "9");
    let ran = stampo.run(&[
        "exec",
        "app-1",
        "--",
        "/bin/sh",
        "-c",
        "echo out; echo err >&2; exit 3",
    ]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "out\n"));
    assert!(
        stampo.ok(&["logs", "app-1"]).contains("login:"),
        "the console is logged"
    );
    stampo.ok(&["rename", "app-3", "db"]);
    assert_eq!(stampo.json(&["show", "db"])["power"], "running");
    assert!(
        stampo
            .fails(5, &["rename", "db", "app-1"])
            .contains("exists")
    );
    assert!(
        stampo
            .fails(5, &["resize", "db", "--cpus", "2"])
            .contains("stop it first")
    );
}

fn stops_and_keeps_its_identity(stampo: &Stampo) {
    let before = stampo.ssh(
        "app-1",
        "cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub",
    );
    let said = stampo.run(&["stop", "app-1"]).stderr;
    assert!(said.contains("shut down by its guest agent"), "{said}");
    stampo.ok(&[
        "resize",
        "app-1",
        "--cpus",
        "2",
        "--memory",
        "768M",
        "--disk-size",
        "4G",
    ]);
    let offline = stampo.json(&["passport", "app-1"]);
    assert_eq!(offline[0]["source"], "disk");
    stampo.ok(&["start", "--wait", "app-1"]);
    let after = stampo.ssh(
        "app-1",
        "cat /etc/machine-id; cat /etc/ssh/ssh_host_ed25519_key.pub",
    );
    assert_eq!(before, after);
    assert_eq!(stampo.ssh("app-1", "nproc"), "2");
    let size: u64 = stampo
        .ssh("app-1", "df --output=size -B1 / | tail -1")
        .parse()
        .expect("a number");
    assert!(size > 3_500_000_000, "the filesystem has grown: {size}");
}

fn removal(stampo: &Stampo) {
    let said = stampo.fails(5, &["rm", "app-2"]);
    assert!(
        said.contains("it runs") && said.contains("stampo stop"),
        "{said}"
    );
    stampo.ok(&["rm", "--force", "--keep", "1h", "app-2"]);
    assert!(!stampo.ok(&["ps", "-o", "name"]).contains("app-2"));
    stampo.ok(&["undelete", "app-2"]);
    stampo.ok(&["clone", "flatten", "app-2"]);
    stampo.ok(&["rm", "--force", "app-1", "app-2"]);
    stampo.ok(&["template", "retire", "web"]);
    let kept = stampo.run(&["template", "purge", "web"]);
    assert_eq!(kept.code, 5, "db still reads the image: {}", kept.stderr);
    assert!(
        kept.stderr.contains("db") && kept.stderr.contains("flatten"),
        "{}",
        kept.stderr
    );
    stampo.ok(&["rm", "--force", "db"]);
    stampo.ok(&["gc", "--now"]);
    let images = std::fs::read_dir(stampo.home().join("images"))
        .expect("listed")
        .count();
    let guests = std::fs::read_dir(stampo.home().join("guests")).expect("listed");
    let guests = guests
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .count();
    assert_eq!((images, guests), (0, 0), "nothing is left");
}

//! Evidence through the program: machines of others are found, and a stranger can check a file of it.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn stampo(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stampo"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("STAMPO_HOME", dir.join("home"))
        .current_dir(dir)
        .args(args)
        .output()
        .expect("the program starts")
}

fn good(dir: &Path, args: &[&str]) -> String {
    let output = stampo(dir, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&good(dir, args)).expect("JSON")
}

/// A machine that nobody made with stampo; it ends with the test.
struct Machine(Child);

impl Machine {
    /// One that waits with this disk, and is called so.
    fn start(name: &str, disk: &Path) -> Machine {
        let drive = format!("if=virtio,format=qcow2,file={}", disk.display());
        let child = Command::new("qemu-system-x86_64")
            .args([
                "-S",
                "-nodefaults",
                "-display",
                "none",
                "-accel",
                "tcg",
                "-m",
                "32",
            ])
            .args([
                "-name",
                &format!("guest={name},debug-threads=off"),
                "-drive",
                &drive,
            ])
            .current_dir("/")
            .stdin(Stdio::null())
            .spawn();
        Machine(child.expect("QEMU can't be started: apt install qemu-system-x86"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn run(program: &str, args: &[&str], dir: &Path) {
    let output = Command::new(program).args(args).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{program} can't be started: {error}"));
    assert!(output.status.success(), "{program}: {output:?}");
}

/// A home with `web@1`, a draft.
fn site() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    run("truncate", &["-s", "8M", "disk.raw"], dir.path());
    run("/sbin/mke2fs", &["-q", "-F", "disk.raw"], dir.path());
    good(
        dir.path(),
        &["template", "import", "web", "disk.raw", "--format", "raw"],
    );
    dir
}

fn strangers(dir: &Path, name: &str) -> Vec<Value> {
    let evidence = json(dir, &["evidence", "-o", "json"]);
    let all = evidence["strangers"].as_array().expect("a list").clone();
    all.into_iter().filter(|one| one["name"] == name).collect()
}

#[test]
fn a_machine_that_somebody_else_made_is_found_with_what_it_reads() {
    let site = site();
    let dir = site.path();
    let images: Vec<_> = fs::read_dir(dir.join("home/images"))
        .expect("images")
        .flatten()
        .collect();
    let base = images[0].path().join("disk.raw");
    let base = base.to_str().expect("text");
    run(
        "qemu-img",
        &[
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "raw",
            "-b",
            base,
            "over.qcow2",
        ],
        dir,
    );
    run(
        "qemu-img",
        &["create", "-q", "-f", "qcow2", "alone.qcow2", "1M"],
        dir,
    );
    let name = format!("stranger-{}", std::process::id());
    let alone = format!("alone-{}", std::process::id());
    assert_eq!(strangers(dir, &name), Vec::<Value>::new());
    let _reads = Machine::start(&name, &dir.join("over.qcow2"));
    let _alone = Machine::start(&alone, &dir.join("alone.qcow2"));
    let found = |name: &str, disk: &str| {
        let begun = Instant::now();
        loop {
            // It opens its disks some time after it has begun.
            let found = strangers(dir, name);
            let has = |one: &Value| one["disks"].to_string().contains(disk);
            if let Some(one) = found.into_iter().find(has) {
                return one;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "{name} is not found"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!(found(&name, "over.qcow2")["reads"], "web@1");
    assert_eq!(found(&alone, "alone.qcow2")["reads"], Value::Null);
    let evidence = json(dir, &["evidence", "-o", "json"]);
    let unknown = evidence["summary"]["unknown_origin"]
        .as_u64()
        .expect("a number");
    assert!(unknown >= 2, "{unknown}");
    let table = good(dir, &["evidence"]);
    assert!(
        table.contains(&name) && table.contains("reads web@1"),
        "{table}"
    );
}

#[test]
fn a_stranger_checks_a_file_with_nothing_but_a_key() {
    let site = site();
    let dir = site.path();
    good(dir, &["evidence", "--bundle", "e.json", "--html", "e.html"]);
    fs::write(dir.join("site.pub"), good(dir, &["evidence", "key"])).expect("written");
    let page = fs::read_to_string(dir.join("e.html")).expect("a page");
    for part in ["<h1>Evidence of ", "CM-8", "A.8.32", "Not known"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script"), "nothing that runs");
    let again = stampo(dir, &["evidence", "--html", "e.html"]);
    assert_eq!(again.status.code(), Some(5), "it is there already");

    let elsewhere = tempfile::tempdir().expect("a directory");
    for file in ["e.json", "site.pub"] {
        fs::copy(dir.join(file), elsewhere.path().join(file)).expect("copied");
    }
    let verify = |key: &str| {
        stampo(
            elsewhere.path(),
            &["evidence", "verify", "e.json", "--key", key],
        )
    };
    let checked = verify("site.pub");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        checked.status.success() && said.contains("signed on "),
        "{checked:?}"
    );
    assert!(!elsewhere.path().join("home").exists(), "no home is made");
    run(
        "ssh-keygen",
        &["-q", "-t", "ed25519", "-N", "", "-f", "other"],
        elsewhere.path(),
    );
    assert_eq!(verify("other.pub").status.code(), Some(4), "another's key");
    let text = fs::read_to_string(elsewhere.path().join("e.json")).expect("text");
    let more = text
        .replace("web@1", "web@2")
        .replace("\\\"records\\\":", "\\\"records\\\":1");
    assert_ne!(more, text);
    fs::write(elsewhere.path().join("e.json"), more).expect("written");
    let refused = verify("site.pub");
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
}

//! Approvals with the program and the keys that people have, and a stranger who checks them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a guest has, as far as sealing looks at it.
const FILES: [(&str, &str); 9] = [
    ("usr/lib/systemd/systemd", "x"),
    ("usr/sbin/sshd", "x"),
    ("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n"),
    ("etc/hostname", "template\n"),
    ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\n"),
    ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
    ("etc/fstab", "LABEL=root / ext4 defaults 0 1\n"),
    ("etc/machine-id", "4a1c8f0e9b7d4d5b8c6e2f3a1b0c9d8e\n"),
];

struct Site(tempfile::TempDir);

impl Site {
    /// A site of two people, with a disk to import.
    fn new() -> Site {
        let site = Site(tempfile::tempdir().expect("a directory"));
        let tree = site.path("tree");
        for (name, content) in FILES {
            let file = tree.join(name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            fs::write(file, content).expect("written");
        }
        for name in ["root", "tmp", "run", "var/lib"] {
            fs::create_dir_all(tree.join(name)).expect("made");
        }
        let disk = site.path("disk.raw");
        let file = fs::File::create_new(&disk).expect("made");
        file.set_len(16 << 20).expect("a sparse file");
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-L",
            "root",
            "-E",
            "root_owner=0:0",
            "-d",
        ]);
        run(mke2fs.arg(&tree).arg(&disk));
        let mut signers = String::new();
        for (name, kind) in [("ann", "ed25519"), ("ben", "ecdsa"), ("eve", "ed25519")] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", kind, "-N", "", "-C", name, "-f", name]);
            run(keygen.current_dir(site.0.path()));
            let key = fs::read_to_string(site.path(&format!("{name}.pub"))).expect("a key");
            if name != "eve" {
                signers += &format!("- {{principal: {name}, keys: ['{}']}}\n", key.trim());
            }
        }
        let settings = format!("schema: stampo.approval/1\npreset: team\nsigners:\n{signers}");
        fs::write(site.path("approval.yaml"), settings).expect("written");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn stampo(&self, args: &[&str]) -> Output {
        stampo(self.0.path())
            .env("STAMPO_HOME", self.path("home"))
            .args(args)
            .output()
            .expect("the program starts")
    }

    /// Runs a command that has to succeed; what it printed and said.
    fn good(&self, args: &[&str]) -> String {
        let output = self.stampo(args);
        let said = text(&output);
        assert!(output.status.success(), "{args:?}: {said}");
        said
    }

    /// Runs a command that has to be refused with this exit code.
    fn bad(&self, args: &[&str], code: i32, why: &str) {
        let output = self.stampo(args);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }

    fn sealed(&self) {
        self.good(&["template", "import", "web", "disk.raw", "--format", "raw"]);
        self.good(&["template", "seal", "web"]);
    }
}

fn stampo(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stampo"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(dir);
    command
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

fn text(output: &Output) -> String {
    let mut all = output.stdout.clone();
    all.extend(&output.stderr);
    String::from_utf8_lossy(&all).into_owned()
}

/// Checks a bundle in an empty directory: without a home, a catalog, or anything in the environment.
fn stranger(files: &[&Path], args: &[&str]) -> (i32, String) {
    let empty = tempfile::tempdir().expect("a directory");
    for file in files {
        let name = file.file_name().expect("a name");
        fs::copy(file, empty.path().join(name)).expect("copied");
    }
    let output = stampo(empty.path())
        .arg("verify-bundle")
        .args(args)
        .output()
        .expect("the program starts");
    let left = fs::read_dir(empty.path()).expect("listed").count();
    assert_eq!(left, files.len(), "it made something");
    (output.status.code().unwrap_or(-1), text(&output))
}

#[test]
fn people_approve_with_their_keys_and_a_stranger_checks_it() {
    let site = Site::new();
    site.sealed();
    site.bad(
        &["approval", "set", "--preset", "team"],
        2,
        "only 0 people can approve",
    );
    site.good(&["approval", "set", "approval.yaml"]);
    site.bad(&["template", "publish", "web"], 4, "template submit");
    site.bad(&["template", "submit", "web"], 2, "it has to be signed");
    site.good(&[
        "template",
        "submit",
        "web",
        "--key",
        "ann",
        "--comment",
        "new kernel",
    ]);
    site.bad(
        &["template", "approve", "web", "--key", "ann"],
        4,
        "by who made the version",
    );
    site.bad(
        &["template", "approve", "web", "--key", "eve"],
        4,
        "no signer's",
    );
    site.bad(
        &["template", "bundle", "db", "--to", "b.json"],
        3,
        "find template db",
    );
    let said = site.good(&["template", "approve", "web", "--key", "ben"]);
    assert!(
        said.contains("approved by ben; next: stampo template publish web@1"),
        "{said}"
    );
    site.good(&["template", "publish", "web"]);
    let shown = site.good(&["template", "show", "web", "-o", "json"]);
    assert!(
        shown.contains("\"standing\": \"approved by ben\""),
        "{shown}"
    );
    site.good(&["template", "bundle", "web", "--to", "b.json"]);
    site.bad(
        &["template", "bundle", "web", "--to", "b.json"],
        5,
        "File exists",
    );

    let (bundle, ben, ann) = (
        site.path("b.json"),
        site.path("ben.pub"),
        site.path("ann.pub"),
    );
    let image = fs::read_dir(site.path("home/images")).expect("listed");
    let image = image
        .flatten()
        .next()
        .expect("an image")
        .path()
        .join("disk.raw");
    let files = [bundle.as_path(), &ben, &ann, &image];
    let trust = ["b.json", "--signer", "ben.pub", "--image", "disk.raw"];
    let (code, said) = stranger(&files, &trust);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("the disk is the one that was approved"),
        "{said}"
    );
    assert!(said.contains("new kernel"), "{said}");
    let (code, said) = stranger(&files, &["b.json", "--signer", "ann.pub"]);
    assert_eq!(code, 4, "{said}");
    let other = site.path("disk.raw");
    let (code, said) = stranger(&[&bundle, &ben, &other], &trust);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("it is another disk"), "{said}");
    let changed = fs::read_to_string(&bundle).expect("read");
    fs::write(&bundle, changed.replace("new kernel", "old kernel")).expect("written");
    let (code, said) = stranger(&[&bundle, &ben], &["b.json", "--signer", "ben.pub"]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("it is not of this text"), "{said}");
}

/// With a key that only an agent has, which is how many people sign.
#[test]
fn a_key_in_an_agent_signs() {
    let site = Site::new();
    site.sealed();
    site.good(&["approval", "set", "approval.yaml"]);
    let socket = site.path("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("ssh-agent can't be started: apt install openssh-client");
    for _ in 0..500 {
        if socket.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let mut add = Command::new("ssh-add");
    run(add
        .arg("-q")
        .arg(site.path("ann"))
        .env("SSH_AUTH_SOCK", &socket));
    fs::remove_file(site.path("ann")).expect("only the agent has it now");
    let output = stampo(site.0.path())
        .env("STAMPO_HOME", site.path("home"))
        .env("SSH_AUTH_SOCK", &socket)
        .args(["template", "submit", "web", "--key", "ann.pub"])
        .output()
        .expect("the program starts");
    agent.kill().expect("it runs");
    agent.wait().expect("it ends");
    assert!(output.status.success(), "{}", text(&output));
}

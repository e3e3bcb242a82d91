//! Runs the real `stampo` program on real guests, and looks at them from the outside.
//!
//! The program is the one that `./test` has just built, with its checks of overflow (or `STAMPO`). Guests are built
//! from Debian packages, run by QEMU under emulation, and asked over ssh and the guest agent. One
//! file per case; this file only starts programs and reads what they print. Nothing is mocked.

pub mod channel;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// How one run of a program ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; 256 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

/// A stampo home of its own, with everything in it removed at the end.
pub struct Stampo {
    dir: tempfile::TempDir,
    program: PathBuf,
}

/// The directory of this project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("testbed lies in the project")
}

impl Stampo {
    /// A new, empty home.
    ///
    /// # Panics
    /// When the program was not built: `cargo build -p stampo-cli`.
    pub fn new() -> Self {
        let built = project().join("target/debug/stampo");
        let program = std::env::var_os("STAMPO").map_or(built, PathBuf::from);
        assert!(
            program.exists(),
            "{} is missing: cargo build -p stampo-cli",
            program.display()
        );
        let parent = project().join(".test");
        std::fs::create_dir_all(&parent).expect("a place for tests");
        let dir = tempfile::Builder::new()
            .prefix("home-")
            .tempdir_in(parent)
            .expect("a home");
        let stampo = Stampo { dir, program };
        let key = stampo.key();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(key)
            .status();
        assert!(
            made.is_ok_and(|status| status.success()),
            "ssh-keygen makes a key"
        );
        stampo
    }

    /// The private key that may log in to guests; its public half has `.pub` behind it.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("key")
    }

    /// A path beside the home, for files of a test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The program with these arguments, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("STAMPO_HOME", self.home())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("stampo starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ran {
            code: output.status.code().unwrap_or(256),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs the program, which must succeed; what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(
            ran.code,
            0,
            "stampo {}\n{}{}",
            args.join(" "),
            ran.stdout,
            ran.stderr
        );
        ran.stdout
    }

    /// Runs the program, which must fail with this exit code; what it said.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(
            ran.code,
            code,
            "stampo {}\n{}{}",
            args.join(" "),
            ran.stdout,
            ran.stderr
        );
        ran.stderr
    }

    /// Runs the program with `-o json`; what it printed.
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["-o", "json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in:\n{text}"))
    }

    /// Builds, seals and publishes a template from a recipe of `testbed/recipes` or `examples`.
    pub fn publish(&self, name: &str, recipe: &str) {
        let path = project().join(recipe);
        self.ok(&["template", "build", name, "-f", &path.display().to_string()]);
        self.ok(&["template", "seal", name]);
        self.ok(&["template", "publish", name]);
    }

    /// As [`Stampo::publish`], for cases that are not about building: imports a disk that is
    /// built once in a run of the tests.
    pub fn publish_shared(&self, name: &str, recipe: &str) {
        self.publish_disk(name, &self.shared_disk(recipe));
    }

    /// Imports, seals and publishes a raw disk.
    pub fn publish_disk(&self, name: &str, disk: &Path) {
        let disk = disk.display().to_string();
        self.ok(&["template", "import", name, &disk, "--format", "raw"]);
        self.ok(&["template", "seal", name]);
        self.ok(&["template", "publish", name]);
    }

    /// The disk of a recipe as it was built, once in a run of the tests. Nobody may change it.
    pub fn shared_disk(&self, recipe: &str) -> PathBuf {
        static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
        let mut built = BUILT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let disk = built.entry(recipe.to_owned()).or_insert_with(|| {
            if let Some(disk) = built_before(recipe) {
                return disk;
            }
            let path = project().join(recipe);
            let path = path.display().to_string();
            self.ok(&["template", "build", "shared", "-f", &path]);
            let image = self.json(&["template", "show", "shared"])["image"]
                .as_str()
                .expect("an id")
                .to_owned();
            let kept = project().join(".test").join(format!("{image}.raw"));
            let disk = self.home().join("images").join(image).join("disk.raw");
            let copied = Command::new("cp")
                .args(["--sparse=always", "--force"])
                .args([&disk, &kept])
                .status();
            assert!(
                copied.is_ok_and(|status| status.success()),
                "the disk is kept"
            );
            self.ok(&["template", "purge", "shared"]);
            kept
        });
        disk.clone()
    }

    /// Makes clones that the test's key may log in to; waits until they answer.
    pub fn clones(&self, version: &str, pattern: &str, more: &[&str]) -> Value {
        let key = self.key().with_extension("pub").display().to_string();
        let base = [
            "clone",
            version,
            pattern,
            "--ssh-key",
            &key,
            "--timeout",
            "900",
        ];
        self.json(&[&base, more].concat())
    }

    /// Runs a shell command in a guest over ssh, its host keys pinned; what it printed.
    pub fn ssh(&self, target: &str, script: &str) -> String {
        let key = self.key().display().to_string();
        self.ok(&["ssh", "-i", &key, target, "--", script])
            .trim()
            .to_owned()
    }

    /// Runs a shell command in a guest through its agent, as soon as that answers.
    pub fn agent(&self, guest: &str, script: &str) -> String {
        for _ in 0..60 {
            let ran = self.run(&[
                "exec",
                guest,
                "--timeout",
                "120",
                "--",
                "/bin/sh",
                "-c",
                script,
            ]);
            if !["guest agent", "reach an agent in"]
                .iter()
                .any(|silent| ran.stderr.contains(silent))
            {
                assert_eq!(
                    ran.code, 0,
                    "{guest}: {script}\n{}{}",
                    ran.stdout, ran.stderr
                );
                return ran.stdout.trim().to_owned();
            }
            std::thread::sleep(std::time::Duration::from_secs(2));
        }
        panic!("the agent of {guest} never answered")
    }

    /// The names of all guests.
    pub fn guests(&self) -> Vec<String> {
        self.ok(&["ps", "--all", "-o", "name"])
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

/// The disk that the test of repeated builds has left in `STAMPO_TESTBED`, which is built from this
/// one recipe; its lock is written when the disk is whole.
fn built_before(recipe: &str) -> Option<PathBuf> {
    let built = PathBuf::from(std::env::var_os("STAMPO_TESTBED")?).join("built");
    let is_whole = recipe == "examples/web.toml" && built.join("packages.lock").exists();
    is_whole.then(|| built.join("disk.raw"))
}

impl Default for Stampo {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stampo {
    /// Ends every guest, also after a failed test.
    fn drop(&mut self) {
        // Else what keeps them would make new members.
        for pool in self.run(&["pool", "ls", "-q", "-o", "name"]).stdout.lines() {
            self.run(&["pool", "rm", pool]);
        }
        let listed = self.run(&["ps", "--all", "-o", "name"]);
        for guest in listed.stdout.lines() {
            if std::thread::panicking() {
                let log = self.run(&["logs", guest]).stdout;
                let tail: Vec<&str> = log.lines().rev().take(40).collect();
                eprintln!("-- console of {guest}:");
                tail.into_iter().rev().for_each(|line| eprintln!("{line}"));
            }
            self.run(&["rm", "--force", guest]);
        }
    }
}
